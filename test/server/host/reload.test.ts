import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { readConfig } from '#server/host/config/reader.js';
import { createLog } from '#server/host/log.js';
import { createReload } from '#server/host/process/reload.js';
import { selfSigned } from '#server/host/self-signed.js';
import { bearer } from '../../fakes/callers.js';
import { noFacts } from '../../fakes/tenants.js';
import { audience, callRates, grpcLimits, startTestHost, webLimits } from './harness.js';
import { RawClient } from './raw-client.js';

const load = (text: string) =>
  readConfig(text, '/x.yaml', (config) => ({
    level: config.choice('log_level', ['info', 'debug'], {
      default: 'info',
      why: 'few lines',
      live: true,
    }),
    folder: config.text('folder', { default: 'store', why: 'beside' }),
    limits: config.section('limits', (limits) =>
      limits.integer('most', { min: 1, max: 9, default: 3, why: 'few', live: true }),
    ),
  }));

function reloading(first: string) {
  const file = { text: first };
  const applied: unknown[] = [];
  const lines: string[] = [];
  const log = createLog('test', 'info', { write: (line) => void lines.push(line) });
  const reload = createReload({
    load: () => load(file.text),
    current: load(first),
    apply: (value) => {
      if (value.folder === 'forbidden') throw new CvmpError('CONFIG', 'no such folder');
      applied.push(value);
    },
    log,
  });
  return { file, applied, lines, reload };
}

describe('reload of a configuration (issue 4, 7)', () => {
  test('says what is in force, and names what needs a restart as long as it does', async () => {
    const { file, lines, reload } = reloading('');
    file.text = 'log_level: debug\nfolder: other\nlimits: {most: 4}';
    const applied = ['log_level', 'limits.most'];
    expect(await reload()).toEqual({ applied, needRestart: ['folder'] });
    expect(await reload()).toEqual({ applied: [], needRestart: ['folder'] });
    file.text = 'log_level: debug\nlimits: {most: 4}';
    expect(await reload()).toEqual({ applied: [], needRestart: [] });
    expect(lines.join('')).toContain('"settings":["folder"],"msg":"settings need a restart"');
  });

  test.each([
    ['that does not parse', 'log_level: [', 'CONFIG'],
    ['with an unknown entry', 'log_lvel: debug', 'CONFIG'],
    ['that the server refuses', 'folder: forbidden\nlog_level: debug', 'CONFIG'],
  ])('a file %s changes nothing and says why', async (_what, text, code) => {
    const { file, applied, lines, reload } = reloading('');
    file.text = text;
    await expect(reload()).rejects.toMatchObject({ code });
    expect(applied).toEqual([]);
    expect(lines.join('')).toContain('configuration refused, nothing changed');
    // And the next good one is taken.
    file.text = 'log_level: debug';
    expect(await reload()).toEqual({ applied: ['log_level'], needRestart: [] });
  });

  test('reloads come one after the other', async () => {
    const { file, applied, reload } = reloading('');
    file.text = 'limits: {most: 5}';
    await Promise.all([reload(), reload(), reload()]);
    expect(applied).toHaveLength(3);
  });
});

async function peerCertificate(address: string): Promise<{ socket: TLSSocket; serial: string }> {
  const [host = '', port] = address.split(':');
  const socket = connect({
    host,
    port: Number(port),
    rejectUnauthorized: false,
    servername: 'localhost',
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  return { socket, serial: socket.getPeerCertificate().serialNumber };
}

function settingsOf(tls: { certificate: string; key: string }) {
  return {
    authenticate: () => Promise.reject(new CvmpError('TOKEN_INVALID', 'nobody')),
    tls,
    grpc: { endpoint: { host: '127.0.0.1', port: 0 }, limits: grpcLimits },
    web: {
      endpoint: { host: '127.0.0.1', port: 0 },
      limits: webLimits,
      origins: ['https://console.example'],
    },
    unarySecondsMax: 10,
    callRates,
  };
}

const listTenants = 'cvmp.v1.TenantService/ListTenants';

describe('a running host', () => {
  test('new connections see the new certificate, the open one goes on, with the new callers', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const old = new RawClient(t.host.grpcAddress, t.certificate);
    const token = await bearer(t.operator, audience, Date.now());
    expect((await old.unary(listTenants, new Uint8Array(), token)).code).toBe(0);
    const before = await peerCertificate(t.host.grpcAddress);
    const next = await selfSigned(['localhost'], Date.now());
    t.host.apply(settingsOf(next));
    for (const address of [t.host.grpcAddress, t.host.webAddress]) {
      const after = await peerCertificate(address);
      expect(after.serial).not.toBe(before.serial);
      after.socket.destroy();
    }
    expect(before.socket.destroyed).toBe(false);
    // The old connection is open, but who calls is judged anew.
    const refused = await old.unary(listTenants, new Uint8Array(), token);
    expect(refused).toMatchObject({ detail: { code: 'TOKEN_INVALID' } });
    before.socket.destroy();
  });

  test('origins are the new ones', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const { Agent, fetch } = await import('undici');
    const dispatcher = new Agent({ connect: { ca: t.certificate, servername: 'localhost' } });
    const ask = async () => {
      const headers = { origin: 'https://console.example' };
      const url = `https://${t.host.webAddress}/livez`;
      return (await fetch(url, { dispatcher, headers })).status;
    };
    expect(await ask()).toBe(403);
    t.host.apply(settingsOf(await selfSigned(['localhost'], Date.now())));
    expect(await ask()).toBe(200);
    await dispatcher.close();
  });

  test('a key that is not of the certificate is refused, and changes nothing', async () => {
    const t = await startTestHost(({ tenants }) => [tenantService(tenants, noFacts)]);
    const before = await peerCertificate(t.host.grpcAddress);
    const [a, b] = [await selfSigned(['a'], Date.now()), await selfSigned(['b'], Date.now())];
    const wrong = { certificate: a.certificate, key: b.key };
    expect(() => t.host.apply(settingsOf(wrong))).toThrow(/do not fit/);
    const after = await peerCertificate(t.host.grpcAddress);
    expect(after.serial).toBe(before.serial);
    before.socket.destroy();
    after.socket.destroy();
  });
});
