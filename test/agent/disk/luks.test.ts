import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Cryptsetup } from '#agent/disk/cryptsetup.js';
import { openDiskFile } from '#agent/disk/disk-file.js';
import { LuksDisk } from '#agent/disk/luks.js';
import { diskContract, securityKey } from '../../contracts/disk.js';
import { MemoryDisk } from '../../fakes/disk-file.js';
import { tamperLuks } from '../../fakes/luks-tamper.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const cryptsetup = new Cryptsetup();
const installed = await cryptsetup.isInstalled();
const options = () => ({ stateDir: temporaryFolder('luks'), mapperName: undefined, cryptsetup });
const token = { keyId: new Uint8Array(16).fill(7), svn: 1, epoch: 1 };

async function formatted() {
  const file = new MemoryDisk(4 << 20);
  const disk = await LuksDisk.load(file, options());
  const key = securityKey();
  const slot = await disk.format(key, token);
  await disk.close();
  return { file, key, slot };
}

describe.skipIf(!installed)(`LUKS2${installed ? '' : ' (cryptsetup is not installed)'}`, () => {
  diskContract('luks', (file) => LuksDisk.load(file, options()));

  test('a tampered header that cryptsetup itself would open is refused', async () => {
    const { file, key } = await formatted();
    tamperLuks(file.content, (json) =>
      json.replace('aes-xts-plain64","sector_size"', 'cipher_null-ecb","sector_size"'),
    );
    const path = join(temporaryFolder('luks'), 'disk');
    writeFileSync(path, file.content);
    const args = ['open', '--test-passphrase', '--key-file', '-', path];
    expect((await cryptsetup.run(args, key)).exitCode).toBe(0);
    expect(await refusalOf(LuksDisk.load(file, options()))).toBe('HEADER_REFUSED');
  });

  test('a token changed by the provider names a key that opens nothing', async () => {
    const { file } = await formatted();
    tamperLuks(file.content, (json) => json.replace('"svn":1', '"svn":2'));
    const disk = await LuksDisk.load(file, options());
    expect(disk.slots?.[0]?.token.svn).toBe(2);
    expect(await disk.testOpen(disk.slots![0]!, securityKey())).toBe(false);
    await disk.close();
  });

  test('the private copy of the header is 0600 and gone after close, also after a refusal', async () => {
    const { file } = await formatted();
    const opts = options();
    const disk = await LuksDisk.load(file, opts);
    const [copy] = readdirSync(opts.stateDir);
    expect(statSync(join(opts.stateDir, copy!)).mode & 0o777).toBe(0o600);
    await disk.close();
    expect(readdirSync(opts.stateDir)).toEqual([]);
    tamperLuks(file.content, (json) => json.replace('"type":"cvmp"', '"type":"other"'));
    expect(await refusalOf(LuksDisk.load(file, opts))).toBe('HEADER_REFUSED');
    expect(readdirSync(opts.stateDir)).toEqual([]);
  });

  test('a copy that a killed agent left makes room for the next', async () => {
    const { file, key, slot } = await formatted();
    const opts = options();
    const killed = await LuksDisk.load(file, opts);
    const next = await LuksDisk.load(file, opts);
    expect(readdirSync(opts.stateDir)).toHaveLength(1);
    expect(await next.testOpen(slot, key)).toBe(true);
    await Promise.all([next.close(), killed.close()]);
  });

  test('a plain file stands for a disk', async () => {
    const path = join(temporaryFolder('luks'), 'disk');
    const disk = await LuksDisk.load(await openDiskFile(path, 8 << 20), options());
    const key = securityKey();
    const slot = await disk.format(key, token);
    await disk.close();
    const again = await LuksDisk.load(await openDiskFile(path, 8 << 20), options());
    expect(await again.open({ slot, key })).toBe('proved');
    await again.close();
  });
});

/** A program that writes down how it was called and ends with `exitCode`. */
function recorder(exitCode: number, body = '') {
  const folder = temporaryFolder('fake');
  const program = join(folder, 'cryptsetup');
  const lines = [
    '#!/bin/sh',
    `printf '%s\\n' "$@" >> ${folder}/args`,
    `env > ${folder}/env`,
    `${body}exit ${exitCode}`,
  ];
  writeFileSync(program, `${lines.join('\n')}\n`);
  chmodSync(program, 0o700);
  return { program, read: (name: string) => readFileSync(join(folder, name), 'utf8') };
}

describe('cryptsetup as child process', () => {
  test('is not there where no such program is', async () => {
    expect(await new Cryptsetup('/nonexistent/cryptsetup').isInstalled()).toBe(false);
    expect(await refusalOf(new Cryptsetup('/nonexistent/cryptsetup').run([]))).toBe('DISK');
  });

  test.each([
    ['cryptsetup 1.7.5', false],
    ['cryptsetup 2.6.1 flags: UDEV', true],
    ['something else 2.0', false],
  ])('%s knows LUKS2: %s', async (version, expected) => {
    const fake = recorder(0, `echo ${version}\n`);
    expect(await new Cryptsetup(fake.program).isInstalled()).toBe(expected);
  });

  test('arguments pass as they are and nothing of our environment with them', async () => {
    const fake = recorder(3);
    const { exitCode } = await new Cryptsetup(fake.program).run(['a b', '$HOME;x', '']);
    expect(exitCode).toBe(3);
    expect(fake.read('args')).toBe('a b\n$HOME;x\n\n');
    expect(fake.read('env')).not.toMatch(/^(HOME|NODE|VITEST)/m);
  });

  test('a program that reads no input, or floods us, does no harm', async () => {
    const flood = recorder(
      1,
      'exec 0<&-\nhead -c 3000000 /dev/zero\nhead -c 3000000 /dev/zero >&2\n',
    );
    const result = await new Cryptsetup(flood.program).run([], new Uint8Array(1 << 20));
    expect(result.exitCode).toBe(1);
    expect(result.stdout.length).toBeLessThanOrEqual(1 << 20);
  });
});

describe.skipIf(!installed)(`mapping${installed ? '' : ' (cryptsetup is not installed)'}`, () => {
  // There is no device-mapper where these tests run, so the last call goes to a recorder.
  const mapping = (exitCode: number) =>
    recorder(
      0,
      `case "$*" in *--header*) cat > /dev/null; exit ${exitCode};; *) exec cryptsetup "$@";; esac\n`,
    );

  async function map(exitCode: number) {
    const { file, key, slot } = await formatted();
    const fake = mapping(exitCode);
    const stateDir = temporaryFolder('luks');
    const cryptsetup = new Cryptsetup(fake.program);
    const disk = await LuksDisk.load(file, { stateDir, mapperName: 'cvmp-data', cryptsetup });
    const [copy] = readdirSync(stateDir);
    try {
      return { opened: await disk.open({ slot, key }), args: fake.read('args'), copy };
    } finally {
      await disk.close();
    }
  }

  test('opens the data of the disk with the checked copy of the header, not its own', async () => {
    const { opened, args, copy } = await map(0);
    expect(opened).toBe('mapped');
    const call = args.split('\nopen\n').at(-1)!.split('\n');
    expect(call.slice(call.indexOf('--header')).filter((arg) => arg !== '')).toEqual([
      '--header',
      expect.stringMatching(new RegExp(`/${copy}$`)),
      expect.stringMatching(/^memory-/),
      'cvmp-data',
    ]);
  });

  test('a disk that this agent mapped before it was started again is as good', async () => {
    expect((await map(5)).opened).toBe('mapped');
  });

  test('a mapping that fails is DISK', async () => {
    expect(await refusalOf(map(1))).toBe('DISK');
  });
});
