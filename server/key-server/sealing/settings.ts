import { CvmpError } from '#core/errors.js';
import type { ConfigReader } from '#server/host/config/reader.js';
import { credentialProvider, fileProvider } from './file.js';
import { passphraseProvider } from './passphrase.js';
import { type TokenSettings, tokenProvider } from './pkcs11.js';
import type { Provider, ProviderKind } from './provider.js';
import { type ShareCounts, shamirProvider, sharesMax } from './shamir.js';

/** Section store.master_key: which provider, and what each needs. */
export interface MasterKeySettings extends ShareCounts {
  readonly provider: ProviderKind;
  /** Provider file: absolute path. */
  readonly file: string;
  /** Provider credential: its name. */
  readonly credential: string;
  readonly pkcs11: TokenSettings;
}

const kinds: readonly ProviderKind[] = ['file', 'credential', 'passphrase', 'shamir', 'pkcs11'];

/** True where there is such a provider. */
export function isProviderKind(text: string): text is ProviderKind {
  return kinds.some((kind) => kind === text);
}

/** @throws CvmpError CONFIG */
export function readMasterKeySettings(section: ConfigReader): MasterKeySettings {
  const settings = {
    provider: section.choice('provider', kinds, {
      default: 'file',
      why: 'starts unattended; docs/operating/sealing.md tells the others',
    }),
    file: section.path('file', {
      default: 'master.key',
      why: 'beside this file; keep it apart from backups of the store',
    }),
    credential: section.text('credential', {
      default: 'cvmp-master-key',
      why: 'as the unit of systemd names it',
      pattern: /^[A-Za-z0-9_.-]{1,255}$/,
    }),
    total: section.integer('shares', {
      min: 2,
      max: sharesMax,
      default: 3,
      why: 'one may be lost, one person alone opens nothing',
    }),
    threshold: section.integer('threshold', {
      min: 2,
      max: sharesMax,
      default: 2,
      why: 'of three shares',
    }),
    pkcs11: section.section('pkcs11', (token) => ({
      modulePath: token.path('module', {
        default: '/usr/lib/softhsm/libsofthsm2.so',
        why: 'SoftHSM of Debian, for tests; name the library of your HSM',
      }),
      tokenLabel: token.text('token', { default: 'cvmp', why: 'as the token was initialised' }),
      keyLabel: token.text('key', { default: 'cvmp-master-key', why: 'init makes it' }),
      pinFile: token.path('pin_file', { default: 'hsm.pin', why: 'beside this file, mode 0600' }),
    })),
  };
  if (settings.threshold > settings.total) {
    const field = section.name('threshold');
    throw new CvmpError('CONFIG', `${field} is more than the shares that there are`, { field });
  }
  return settings;
}

/** What the program gives to providers. */
export interface ProviderSources {
  /** $CREDENTIALS_DIRECTORY. */
  readonly credentialsFolder: string | undefined;
  /** Asks a person for a new passphrase. */
  readonly choosePassphrase: () => Promise<Uint8Array>;
}

export function providerOf(settings: MasterKeySettings, sources: ProviderSources): Provider {
  switch (settings.provider) {
    case 'file':
      return fileProvider(settings.file);
    case 'credential':
      return credentialProvider(sources.credentialsFolder, settings.credential);
    case 'passphrase':
      return passphraseProvider(sources.choosePassphrase);
    case 'shamir':
      return shamirProvider(settings);
    case 'pkcs11':
      return tokenProvider(settings.pkcs11);
  }
}
