import { join } from 'node:path';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import {
  createMasterKeyFile,
  descriptionIdLength,
  type MasterKey,
  masterKeyLength,
  masterKeyOf,
  readMasterKeyFile,
  readSecretFile,
} from '../store/master-key.js';
import { type Provider, parametersOf } from './provider.js';

/** 32 bytes in a file of mode 0600. */
export function fileProvider(path: string): Provider {
  return {
    kind: 'file',
    async create() {
      createMasterKeyFile(path, crypto.randomBytes);
      return { masterKey: readMasterKeyFile(path), shares: [] };
    },
    async open(description) {
      parametersOf(description, 'file');
      return readMasterKeyFile(path, description);
    },
  };
}

/**
 * 32 bytes that systemd decrypts for the service (LoadCredentialEncrypted=). It is made by
 * systemd-creds, bound to the machine's TPM where it has one, before init.
 * @param folder of the service's credentials; undefined outside of a service
 */
export function credentialProvider(folder: string | undefined, name: string): Provider {
  const read = (description: Uint8Array): MasterKey => {
    if (folder === undefined) {
      const what = `the credential ${name} is given by systemd: run this as its service`;
      throw new CvmpError('CONFIG', what, { field: 'store.master_key.credential' });
    }
    const key = readSecretFile(join(folder, name), 'credential', (size) =>
      size === masterKeyLength ? undefined : `has ${size} bytes, not ${masterKeyLength}`,
    );
    return masterKeyOf(key, description);
  };
  return {
    kind: 'credential',
    async create() {
      const id = crypto.randomBytes(descriptionIdLength);
      return { masterKey: read(encode(['credential', id])), shares: [] };
    },
    async open(description) {
      parametersOf(description, 'credential');
      return read(description);
    },
  };
}
