import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { TpmTools } from '#agent/attester/tpm/tools.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../../refusal.js';
import { temporaryFolder } from '../../../run-folder.js';

/** Tools that write down by which way they were told to reach the TPM. */
async function toolsFor(tcti: string) {
  const folder = temporaryFolder('tools');
  const calls = join(folder, 'calls');
  writeFileSync(calls, '');
  for (const tool of ['getcap', 'flushcontext', 'fails']) {
    const program = join(folder, `tpm2_${tool}`);
    const end = { fails: 'echo "WARNING: a" >&2; echo "ERROR: b" >&2; exit 1' }[tool] ?? 'true';
    const script = `#!/bin/sh\necho "${tool} $* $TPM2TOOLS_TCTI" >> ${calls}\n${end}\n`;
    writeFileSync(program, script);
    chmodSync(program, 0o700);
  }
  const { randomBytes } = crypto;
  const tools = await TpmTools.open({ tcti, stateDir: folder, randomBytes, programs: folder });
  onTestFinished(() => tools.close());
  return { tools, folder, called: () => readFileSync(calls, 'utf8').trim().split('\n') };
}

describe('tpm2-tools as child processes', () => {
  test('behind the resource manager of the kernel nothing is flushed: it does so itself', async () => {
    const { tools, called } = await toolsFor('device:/dev/tpmrm0');
    await tools.run('getcap', ['a b', '$HOME']);
    await tools.flush();
    expect(called()).toEqual(['getcap a b $HOME device:/dev/tpmrm0']);
  });

  test.each(['device:/dev/tpm0', 'swtpm:path=/s', 'device:/dev/tpmrm'])(
    'at %s there is none, and what was loaded is flushed',
    async (tcti) => {
      const { tools, called } = await toolsFor(tcti);
      await tools.flush();
      expect(called()).toEqual([`flushcontext -t ${tcti}`, `flushcontext -l ${tcti}`]);
    },
  );

  test('a tool that fails is quoted by its first error', async () => {
    const { tools } = await toolsFor('device:/dev/tpm0');
    await expect(tools.run('fails', [])).rejects.toMatchObject({
      code: 'TPM_UNAVAILABLE',
      field: 'tpm2_fails',
      message: 'tpm2_fails: ERROR: b',
    });
  });

  test('a tool that is not installed is TPM_UNAVAILABLE, a folder that cannot be made too', async () => {
    const { tools, folder } = await toolsFor('device:/dev/tpm0');
    expect(await refusalOf(tools.run('missing', []))).toBe('TPM_UNAVAILABLE');
    const stateDir = join(folder, 'calls');
    const { randomBytes } = crypto;
    const opened = TpmTools.open({ tcti: '', stateDir, randomBytes });
    expect(await refusalOf(opened)).toBe('TPM_UNAVAILABLE');
  });

  test('folders of agents that were killed are taken away, those of others that run are not', async () => {
    const stateDir = temporaryFolder('tpm-tools');
    const { randomBytes } = crypto;
    const open = () => TpmTools.open({ tcti: 'none', stateDir, randomBytes });
    const first = await open();
    const left = ['tpm-4194305-0123456789abcdef', `tpm-${process.pid}-0123456789abcdef`];
    const others = ['tpm-1-0123456789abcdef', 'tpm-notes', 'disk'];
    for (const name of [...left, ...others]) mkdirSync(join(stateDir, name));
    await first.write('nv', Uint8Array.of(1));
    const second = await open();
    const found = readdirSync(stateDir);
    expect(found).toEqual(expect.arrayContaining(others));
    expect(found.filter((name) => left.includes(name))).toEqual([]);
    expect(await first.take('nv')).toEqual(Uint8Array.of(1));
    await first.close();
    await second.close();
    expect(readdirSync(stateDir).sort()).toEqual(others.sort());
  });
});
