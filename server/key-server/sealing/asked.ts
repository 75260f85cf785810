import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { Dialog } from '#server/host/program.js';
import type { MasterKey } from '../store/master-key.js';
import { readMasterDescription } from '../store/vault/file-vault.js';
import { type MasterKeySettings, providerOf } from './settings.js';

interface KeptStore {
  readonly vaultFolder: string;
  readonly masterKey: MasterKeySettings;
}

/**
 * The master key for a command that opens the store itself: what persons must enter, they are asked for.
 * @throws CvmpError STORE_MISSING, CONFIG, MASTER_KEY, CANCELLED
 */
export async function askedMasterKey(
  { vaultFolder, masterKey }: KeptStore,
  credentialsFolder: string | undefined,
  { readSecret, progress }: Dialog,
): Promise<MasterKey> {
  const provider = providerOf(masterKey, { credentialsFolder, choosePassphrase: nobody });
  const description = readMasterDescription(vaultFolder);
  if (provider.open !== undefined) return provider.open(description);
  const entry = provider.entry?.(description);
  const prompt = provider.kind === 'shamir' ? 'share' : 'passphrase';
  for (;;) {
    const opened = await entry?.enter(await readSecret(prompt));
    if (opened !== undefined) return opened;
    progress(`entered: ${entry?.entered} of ${entry?.needed}`);
  }
}

/** Only init and rekey-master make new ones. */
export function nobody(): never {
  throw new CvmpError('USAGE', 'a passphrase is chosen by init or rekey-master');
}

/** Asks for a new passphrase twice. @throws CvmpError USAGE where they differ */
export async function newPassphrase({
  readSecret,
}: Pick<Dialog, 'readSecret'>): Promise<Uint8Array> {
  const passphrase = await readSecret('new passphrase');
  const again = await readSecret('the same again');
  const isSame = equalBytes(passphrase, again);
  again.fill(0);
  if (isSame) return passphrase;
  passphrase.fill(0);
  throw new CvmpError('USAGE', 'the two passphrases differ');
}
