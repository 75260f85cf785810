import { expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { crypto } from '#crypto';
import type { Created, Provider } from '#server/key-server/sealing/provider.js';
import type { MasterKey } from '#server/key-server/store/master-key.js';
import { refusalOf } from '../refusal.js';

/** A way to keep master keys, as a test makes it. */
export interface KeptKey {
  readonly provider: Provider;
  /** What persons enter, in order, for a master key that was made; none where it opens by itself. */
  readonly entries: (created: Created) => readonly string[];
  /** Another one of the same kind that has never seen the first one's key. */
  readonly other: () => Promise<Provider>;
}

/** Opens a master key again from its description, as a restarted server does. */
export async function reopened(
  { provider, entries }: Pick<KeptKey, 'provider' | 'entries'>,
  created: Created,
): Promise<MasterKey> {
  const { description } = created.masterKey;
  if (provider.open !== undefined) return provider.open(description);
  const entry = provider.entry?.(description);
  if (entry === undefined) throw new Error('it neither opens nor is entered');
  let key: MasterKey | undefined;
  for (const text of entries(created)) {
    expect(key).toBeUndefined();
    key = await entry.enter(utf8(text));
  }
  if (key === undefined) throw new Error('too few entries');
  return key;
}

/** What every provider keeps. */
export function masterKeyContract(make: () => Promise<KeptKey>): void {
  const context = utf8('context');
  const kek = () => new Uint8Array(32).fill(0x5a);

  it('wraps so that only it unwraps, also after a restart', async () => {
    const kept = await make();
    const created = await kept.provider.create();
    const wrapped = await created.masterKey.wrap(kek(), context);
    expect(await created.masterKey.unwrap(wrapped, context)).toEqual(kek());
    const again = await reopened(kept, created);
    expect(await again.unwrap(wrapped, context)).toEqual(kek());
    expect(again.description).toEqual(created.masterKey.description);
    again.close();
  });

  it('binds what it wraps to its context, and every byte of it', async () => {
    const { masterKey } = await (await make()).provider.create();
    const wrapped = await masterKey.wrap(kek(), context);
    const opens = (bytes: Uint8Array, under: Uint8Array) =>
      refusalOf(async () => masterKey.unwrap(bytes, under));
    expect(await opens(wrapped, utf8('another'))).toBe('DECRYPT_FAILED');
    for (let i = 0; i < wrapped.length; i++) {
      const changed = wrapped.slice();
      changed[i]! ^= 0x80;
      expect(await opens(changed, context)).toBe('DECRYPT_FAILED');
    }
    for (const length of [0, 5, wrapped.length - 1]) {
      expect(await opens(wrapped.subarray(0, length), context)).toBe('DECRYPT_FAILED');
    }
  });

  it('never wraps twice alike', async () => {
    const { masterKey } = await (await make()).provider.create();
    const [a, b] = [await masterKey.wrap(kek(), context), await masterKey.wrap(kek(), context)];
    expect(a).not.toEqual(b);
  });

  it('makes another key each time', async () => {
    const kept = await make();
    const first = await kept.provider.create();
    const wrapped = await first.masterKey.wrap(kek(), context);
    const second = await (await kept.other()).create();
    const unwrap = async () => second.masterKey.unwrap(wrapped, context);
    expect(await refusalOf(unwrap)).toBe('DECRYPT_FAILED');
  });

  it('describes itself without a secret, by kind, and opens no description of another kind', async () => {
    const { provider } = await make();
    const { masterKey } = await provider.create();
    expect(masterKey.description.length).toBeLessThan(4096);
    expect(Buffer.from(masterKey.description).includes(provider.kind)).toBe(true);
    const foreign = provider.kind === 'file' ? 'shamir' : 'file';
    const description = Uint8Array.of(0x81, 0x60 + foreign.length, ...utf8(foreign));
    const open = async () =>
      provider.open === undefined ? provider.entry?.(description) : provider.open(description);
    expect(await refusalOf(open)).toBe('CONFIG');
  });

  it('closed, it does nothing more', async () => {
    const { masterKey } = await (await make()).provider.create();
    const wrapped = await masterKey.wrap(crypto.randomBytes(32), context);
    masterKey.close();
    await expect(masterKey.unwrap(wrapped, context)).rejects.toThrow();
  });
}
