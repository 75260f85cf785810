import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { crypto } from '#crypto';
import { credentialProvider, fileProvider } from '#server/key-server/sealing/file.js';
import { passphraseProvider } from '#server/key-server/sealing/passphrase.js';
import { tokenProvider } from '#server/key-server/sealing/pkcs11.js';
import { shamirProvider } from '#server/key-server/sealing/shamir.js';
import { readShare, shareText } from '#server/key-server/sealing/share.js';
import { masterKeyContract, reopened } from '../../../contracts/master-key.js';
import { tokenSettings, withoutSoftHsm } from '../../../fakes/soft-hsm.js';
import { refusalOf } from '../../../refusal.js';
import { canary, temporaryFolder } from '../../../run-folder.js';

const none = () => [];
const context = utf8('context');

describe('master key: file', () => {
  const make = async () => fileProvider(join(temporaryFolder('file'), 'master.key'));
  masterKeyContract(async () => ({ provider: await make(), entries: none, other: make }));

  it('is never overwritten', async () => {
    const provider = await make();
    await provider.create();
    expect(await refusalOf(provider.create())).toBe('ALREADY_EXISTS');
  });
});

/** What LoadCredentialEncrypted= leaves for a service. */
async function withCredential(mode = 0o400, length = 32) {
  const folder = join(temporaryFolder('creds'), 'credentials');
  mkdirSync(folder, { mode: 0o700 });
  const secret = crypto.randomBytes(length);
  writeFileSync(join(folder, 'cvmp-master-key'), secret, { mode });
  chmodSync(join(folder, 'cvmp-master-key'), mode);
  return credentialProvider(folder, 'cvmp-master-key');
}

describe('master key: credential of systemd', () => {
  const make = () => withCredential();
  masterKeyContract(async () => ({ provider: await make(), entries: none, other: make }));

  it('outside of a service, or without the credential, it says what is missing', async () => {
    await expect(credentialProvider(undefined, 'cvmp-master-key').create()).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('run this as its service'),
    });
    const elsewhere = credentialProvider(temporaryFolder('creds'), 'cvmp-master-key');
    expect(await refusalOf(elsewhere.create())).toBe('CONFIG');
  });

  it('is refused where others may read it, or with another length', async () => {
    expect(await refusalOf((await withCredential(0o444)).create())).toBe('CONFIG');
    expect(await refusalOf((await withCredential(0o400, 31)).create())).toBe('CONFIG');
  });
});

describe('master key: passphrase (scrypt, RFC 7914)', () => {
  const passphrase = 'correct horse battery staple';
  const make = async () => passphraseProvider(async () => utf8(passphrase));
  masterKeyContract(async () => ({
    provider: await make(),
    entries: () => [passphrase],
    other: make,
  }));

  it('overwrites the passphrase that it was given', async () => {
    const given = utf8(passphrase);
    const { masterKey } = await passphraseProvider(async () => given).create();
    expect(given.every((byte) => byte === 0)).toBe(true);
    const entered = utf8(passphrase);
    await passphraseProvider(async () => given)
      .entry?.(masterKey.description)
      .enter(entered);
    expect(entered.every((byte) => byte === 0)).toBe(true);
  });

  it('another passphrase gives another key', async () => {
    const provider = await make();
    const created = await provider.create();
    const wrapped = await created.masterKey.wrap(new Uint8Array(32), context);
    const wrong = await reopened(
      { provider, entries: () => ['correct horse battery st4ple'] },
      created,
    );
    expect(await refusalOf(async () => wrong.unwrap(wrapped, context))).toBe('DECRYPT_FAILED');
  });

  it.each([11, 1025])('of %i bytes is refused', async (length) => {
    const provider = passphraseProvider(async () => new Uint8Array(length).fill(0x61));
    expect(await refusalOf(provider.create())).toBe('USAGE');
  });

  it('a description that asks for too little or too much work is refused', async () => {
    const provider = await make();
    const salt = new Uint8Array(16);
    for (const [logN, r, p] of [
      [13, 8, 1],
      [21, 8, 1],
      [17, 1, 1],
      [17, 64, 1],
      [17, 8, 5],
    ] as const) {
      const entry = provider.entry?.(encode(['passphrase', salt, logN, r, p]));
      expect(await refusalOf(entry!.enter(utf8(passphrase)))).toBe('SIZE');
    }
  });
});

describe('master key: shares (Shamir)', () => {
  const make = async () => shamirProvider({ threshold: 2, total: 3 });
  masterKeyContract(async () => ({
    provider: await make(),
    entries: ({ shares }) => [shares[2]!, shares[0]!],
    other: make,
  }));

  it('any two of three shares give it, one does not', async () => {
    const provider = await make();
    const created = await provider.create();
    for (const share of created.shares) canary(utf8(share));
    const wrapped = await created.masterKey.wrap(new Uint8Array(32).fill(1), context);
    for (const pair of [
      [0, 1],
      [1, 0],
      [0, 2],
      [1, 2],
    ] as const) {
      const entries = () => pair.map((i) => created.shares[i]!);
      const key = await reopened({ provider, entries }, created);
      expect(await key.unwrap(wrapped, context)).toEqual(new Uint8Array(32).fill(1));
    }
    const entry = provider.entry!(created.masterKey.description);
    expect(await entry.enter(utf8(created.shares[0]!))).toBeUndefined();
    expect([entry.entered, entry.needed]).toEqual([1, 2]);
    entry.reset();
    expect(entry.entered).toBe(0);
  });

  it('a share says what it is, and may be typed in capitals with spaces around it', async () => {
    const provider = await make();
    const { shares, masterKey } = await provider.create();
    expect(shares[1]).toMatch(/^cvmp-share-[0-9a-f]{16}-2of3-2-[0-9a-f]{66}-[0-9a-f]{8}$/);
    const entry = provider.entry!(masterKey.description);
    await entry.enter(utf8(`  ${shares[1]!.toUpperCase()}\r\n`));
    expect(entry.entered).toBe(1);
  });

  it('a wrong share is told by name, does not count, and is overwritten', async () => {
    const provider = await make();
    const { shares, masterKey } = await provider.create();
    const foreign = await provider.create();
    const entry = provider.entry!(masterKey.description);
    await entry.enter(utf8(shares[0]!));
    const refused = async (text: string) => {
      const bytes = utf8(text);
      const error = await entry.enter(bytes).catch((cause: Error) => cause);
      expect(bytes.every((byte) => byte === 0)).toBe(true);
      expect(entry.entered).toBe(1);
      expect(error).toMatchObject({ code: 'MASTER_KEY' });
      return (error as Error).message;
    };
    expect(await refused('something else')).toBe('this is not a share of a master key');
    expect(await refused(shares[0]!)).toBe('share 1 was entered already');
    const slip = shares[1]!.replace(
      /-2of3-2-./,
      (text) => `${text.slice(0, -1)}${text.endsWith('0') ? '1' : '0'}`,
    );
    expect(await refused(slip)).toBe('share 2 is mistyped: its checksum is wrong');
    expect(await refused(foreign.shares[1]!)).toMatch(/^share 2 is of set [0-9a-f]{16}; this/);
    // With a checksum and a set that are right.
    const { setId, ...rest } = readShare(utf8(shares[1]!));
    const forged = shareText({ ...rest, setId, value: new Uint8Array(33).fill(3) });
    expect(await refused(forged)).toBe('share 2 was not made with this set');
    expect(await entry.enter(utf8(shares[2]!))).toBeDefined();
  });
});

describe('master key: token (PKCS #11)', () => {
  const reason = withoutSoftHsm();

  describe.skipIf(reason !== undefined)(
    `with SoftHSM${reason === undefined ? '' : `: ${reason}`}`,
    () => {
      const make = async () => tokenProvider(tokenSettings());
      masterKeyContract(async () => ({ provider: await make(), entries: none, other: make }));

      it('a wrong PIN, another token and a PIN that others may read are refused by name', async () => {
        const settings = tokenSettings();
        await tokenProvider(settings).create();
        const absent = tokenProvider({ ...settings, tokenLabel: 'nothing' });
        await expect(absent.create()).rejects.toMatchObject({
          code: 'CONFIG',
          message: expect.stringContaining('no token labelled nothing'),
        });
        const pinFile = join(temporaryFolder('pin'), 'pin');
        writeFileSync(pinFile, '1234', { mode: 0o644 });
        expect(await refusalOf(tokenProvider({ ...settings, pinFile }).create())).toBe('CONFIG');
      });

      it('another key under the same label is told from a wrong configuration', async () => {
        const settings = tokenSettings();
        const provider = tokenProvider(settings);
        await provider.create();
        const foreign = encode(['pkcs11', new Uint8Array(16)]);
        expect(await refusalOf(provider.open!(foreign))).toBe('MASTER_KEY');
      });
    },
  );

  it('a module that is not there is a fault of the configuration', async () => {
    const pinFile = join(temporaryFolder('pin'), 'pin');
    writeFileSync(pinFile, '1234', { mode: 0o600 });
    const modulePath = '/nowhere/libhsm.so';
    const settings = { modulePath, tokenLabel: 't', keyLabel: 'k', pinFile };
    expect(await refusalOf(tokenProvider(settings).create())).toBe('CONFIG');
  });
});
