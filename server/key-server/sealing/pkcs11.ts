import { concat } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { asBytes } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { type MasterKey, readSecretFile } from '../store/master-key.js';
import { TokenSession } from './pkcs11-module.js';
import { type Provider, parametersOf } from './provider.js';

export interface TokenSettings {
  /** Shared library of the HSM's maker. */
  readonly modulePath: string;
  readonly tokenLabel: string;
  readonly keyLabel: string;
  /** File of mode 0600 with the user PIN. */
  readonly pinFile: string;
}

const idLength = 16;
const ivLength = 12;

/** An AES-256 key inside a token that speaks PKCS #11: it wraps and unwraps there, and never leaves. */
export function tokenProvider(settings: TokenSettings): Provider {
  return {
    kind: 'pkcs11',
    async create() {
      const session = openSession(settings);
      const id = crypto.randomBytes(idLength);
      const key = session.generate(settings.keyLabel, id);
      return { masterKey: tokenKey(session, key, encode(['pkcs11', id])), shares: [] };
    },
    async open(description) {
      const [id] = parametersOf(description, 'pkcs11');
      const session = openSession(settings);
      const key = session.find(settings.keyLabel, asBytes(id, 'master.id', { length: idLength }));
      if (key === undefined) {
        session.close();
        const what = `the token ${settings.tokenLabel} does not have this store's ${settings.keyLabel}`;
        throw new CvmpError('MASTER_KEY', what);
      }
      return tokenKey(session, key, description);
    },
  };
}

function openSession({ modulePath, tokenLabel, pinFile }: TokenSettings): TokenSession {
  const text = readSecretFile(pinFile, 'PIN', (size) =>
    size > 0 && size <= 256 ? undefined : 'is no PIN',
  );
  let length = text.length;
  while ((text[length - 1] ?? 0x21) <= 0x20) length--;
  try {
    return new TokenSession(modulePath, tokenLabel, text.subarray(0, length));
  } finally {
    text.fill(0);
  }
}

function tokenKey(
  session: TokenSession,
  key: Parameters<TokenSession['seal']>[0],
  description: Uint8Array,
): MasterKey {
  return {
    description,
    async wrap(secret, context) {
      const iv = crypto.randomBytes(ivLength);
      return concat(iv, session.seal(key, iv, secret, context));
    },
    async unwrap(wrapped, context) {
      const [iv, sealed] = [wrapped.subarray(0, ivLength), wrapped.subarray(ivLength)];
      return session.open(key, iv, sealed, context);
    },
    close: () => session.close(),
  };
}
