import { scrypt } from 'node:crypto';
import { encode } from '#core/cbor/encode.js';
import { asBytes, asInteger } from '#core/cbor/read.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { type MasterKey, masterKeyLength, masterKeyOf } from '../store/master-key.js';
import { type Provider, parametersOf } from './provider.js';

/** scrypt (RFC 7914). 128 MiB and about half a second for each guess. */
const cost = { logN: 17, r: 8, p: 1 };
/** What a description may ask of this machine: 1 GiB at most. */
const logNRange = { min: 14, max: 20 };
const saltLength = 16;
const bytesMin = 12;
const bytesMax = 1024;

/**
 * A passphrase that a person enters; the master key is derived from it and stored nowhere.
 * @param choose asks for a new one; bytes of UTF-8, overwritten
 */
export function passphraseProvider(choose: () => Promise<Uint8Array>): Provider {
  return {
    kind: 'passphrase',
    async create() {
      const passphrase = await choose();
      if (passphrase.length < bytesMin || passphrase.length > bytesMax) {
        passphrase.fill(0);
        throw new CvmpError('USAGE', `a passphrase has ${bytesMin} to ${bytesMax} bytes`);
      }
      const salt = crypto.randomBytes(saltLength);
      const { logN, r, p } = cost;
      const description = encode(['passphrase', salt, logN, r, p]);
      return { masterKey: await derived(passphrase, description), shares: [] };
    },
    entry(description) {
      parametersOf(description, 'passphrase');
      return {
        entered: 0,
        needed: 1,
        // Whether it is the right one shows when it opens the store.
        enter: (passphrase) => derived(passphrase, description),
        reset: () => undefined,
      };
    },
  };
}

/** Overwrites the passphrase. */
async function derived(passphrase: Uint8Array, description: Uint8Array): Promise<MasterKey> {
  const [salt, logN, r, p] = parametersOf(description, 'passphrase');
  const N = 2 ** asInteger(logN, 'master.log_n', logNRange);
  const parameters = {
    N,
    r: asInteger(r, 'master.r', { min: 8, max: 8 }),
    p: asInteger(p, 'master.p', { min: 1, max: 4 }),
    maxmem: 256 * N * 8,
  };
  const saltBytes = asBytes(salt, 'master.salt', { length: saltLength });
  try {
    const key = await new Promise<Buffer>((resolve, reject) => {
      scrypt(passphrase, saltBytes, masterKeyLength, parameters, (error, made) =>
        error === null ? resolve(made) : reject(error),
      );
    });
    return masterKeyOf(new Uint8Array(key.buffer, key.byteOffset, key.length), description);
  } finally {
    passphrase.fill(0);
  }
}
