import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { selfSigned } from '#server/host/self-signed.js';
import { makeSigner } from '../../fakes/callers.js';
import { PlatformFolder } from './process.js';

describe('cvmp-platform, operated (issue 4, 7: by the same code as the Key Server)', () => {
  test('health and metrics without TLS and without a tenant; SIGHUP takes over; SIGTERM ends', async () => {
    const folder = await PlatformFolder.initialised();
    const platform = await folder.serve();
    const acme = await makeSigner('acme');
    const client = await platform.tenant(acme);
    expect((await client.cVMList({})).cvms).toEqual([]);
    const ask = async (path: string) => fetch(`http://${platform.observeAddress}${path}`);
    expect(await (await ask('/readyz')).json()).toEqual({ status: 'SERVING', reasons: [] });
    const metrics = async () => (await ask('/metrics')).text();
    const before = await metrics();
    expect(before).toContain('cvmp_calls_total{method="cvmp.v1.CvmService/CVMList",code="OK"} 1\n');
    expect(before).not.toContain('acme');

    const expiry = /cvmp_tls_certificate_expiry_timestamp_seconds (\d+)/;
    const yearMs = 365 * 24 * 3600 * 1000;
    const next = await selfSigned(['localhost', '127.0.0.1'], Date.now() + yearMs);
    writeFileSync(join(folder.path, 'tls.crt'), next.certificate);
    writeFileSync(join(folder.path, 'tls.key'), next.key);
    appendFileSync(folder.config, 'log_level: warn\n');
    platform.child.kill('SIGHUP');
    await vi.waitFor(
      async () => {
        const [, ends] = expiry.exec(await metrics()) ?? [];
        expect(Number(ends)).toBeGreaterThan(Number(expiry.exec(before)?.[1]));
      },
      { timeout: 60_000 },
    );
    // The connection from before goes on.
    expect((await client.cVMList({})).cvms).toEqual([]);
    expect(await platform.end('SIGTERM')).toBe(0);
  });
});
