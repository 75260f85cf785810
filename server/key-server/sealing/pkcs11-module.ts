import { createRequire } from 'node:module';
import { CvmpError } from '#core/errors.js';

// pkcs11js is an optional dependency, built where it is installed: what it offers is named here, so
// that everything else compiles and runs without it.

type Handle = Buffer;

interface Mechanism {
  readonly mechanism: number;
  readonly parameter?: unknown;
}

interface Attribute {
  readonly type: number;
  readonly value?: number | boolean | string | Buffer;
}

interface Cryptoki {
  load(path: string): void;
  C_Initialize(): void;
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): { readonly label: string };
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_Login(session: Handle, userType: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
  C_FindObjects(session: Handle, max: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GenerateKey(session: Handle, mechanism: Mechanism, template: readonly Attribute[]): Handle;
  C_EncryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Encrypt(session: Handle, input: Buffer, output: Buffer): Buffer;
  C_DecryptInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  C_Decrypt(session: Handle, input: Buffer, output: Buffer): Buffer;
}

interface Library {
  readonly PKCS11: new () => Cryptoki;
  /** Its own number for the parameters of AES-GCM as PKCS #11 v2.40 has them. */
  readonly CK_PARAMS_AES_GCM_v240: number;
}

/** Numbers of PKCS #11 v2.40. */
const ck = {
  flags: 0x4 | 0x2,
  user: 1,
  classSecretKey: 4,
  keyTypeAes: 0x1f,
  aesKeyGen: 0x1080,
  aesGcm: 0x1087,
  aClass: 0x0,
  aToken: 0x1,
  aPrivate: 0x2,
  aLabel: 0x3,
  aKeyType: 0x100,
  aId: 0x102,
  aSensitive: 0x103,
  aEncrypt: 0x104,
  aDecrypt: 0x105,
  aValueLength: 0x161,
  aExtractable: 0x162,
  rAlreadyInitialized: 0x191,
  rAlreadyLoggedIn: 0x100,
} as const;

interface Loaded {
  readonly module: Cryptoki;
  readonly gcmParameters: number;
}

/** Modules that this process has loaded: each is initialised once. */
const loaded = new Map<string, Loaded>();

/** A session with one token. Its keys never leave it. Calls block for as long as the token takes. */
export class TokenSession {
  readonly #module: Cryptoki;
  readonly #gcmParameters: number;
  readonly #session: Handle;

  /** @throws CvmpError CONFIG: no library, no such token, a wrong PIN */
  constructor(modulePath: string, tokenLabel: string, pin: Uint8Array) {
    const { module, gcmParameters } = loadModule(modulePath);
    this.#module = module;
    this.#gcmParameters = gcmParameters;
    const slot = this.#module
      .C_GetSlotList(true)
      .find((one) => this.#module.C_GetTokenInfo(one).label.trim() === tokenLabel);
    if (slot === undefined) {
      throw new CvmpError('CONFIG', `${modulePath} has no token labelled ${tokenLabel}`);
    }
    this.#session = this.#module.C_OpenSession(slot, ck.flags);
    try {
      this.#module.C_Login(this.#session, ck.user, Buffer.from(pin).toString('utf8'));
    } catch (cause) {
      if (codeOf(cause) === ck.rAlreadyLoggedIn) return;
      this.#module.C_CloseSession(this.#session);
      throw tokenError(`the token ${tokenLabel} refuses the PIN`, cause);
    }
  }

  /** An AES key by its label and, where given, its id. */
  find(label: string, id?: Uint8Array): Handle | undefined {
    const template: Attribute[] = [
      { type: ck.aClass, value: ck.classSecretKey },
      { type: ck.aLabel, value: label },
    ];
    if (id !== undefined) template.push({ type: ck.aId, value: Buffer.from(id) });
    this.#module.C_FindObjectsInit(this.#session, template);
    try {
      return this.#module.C_FindObjects(this.#session, 1)[0];
    } finally {
      this.#module.C_FindObjectsFinal(this.#session);
    }
  }

  /** An AES-256 key that cannot be read out. @throws CvmpError CONFIG */
  generate(label: string, id: Uint8Array): Handle {
    const template: Attribute[] = [
      { type: ck.aClass, value: ck.classSecretKey },
      { type: ck.aKeyType, value: ck.keyTypeAes },
      { type: ck.aValueLength, value: 32 },
      { type: ck.aLabel, value: label },
      { type: ck.aId, value: Buffer.from(id) },
      { type: ck.aToken, value: true },
      { type: ck.aPrivate, value: true },
      { type: ck.aSensitive, value: true },
      { type: ck.aExtractable, value: false },
      { type: ck.aEncrypt, value: true },
      { type: ck.aDecrypt, value: true },
    ];
    try {
      return this.#module.C_GenerateKey(this.#session, { mechanism: ck.aesKeyGen }, template);
    } catch (cause) {
      throw tokenError('the token makes no AES-256 key', cause);
    }
  }

  /** AES-GCM, the tag behind the ciphertext. @throws CvmpError CONFIG */
  seal(key: Handle, iv: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Uint8Array {
    try {
      this.#module.C_EncryptInit(this.#session, this.#gcm(iv, aad), key);
      const out = Buffer.alloc(plaintext.length + 16);
      const sealed = this.#module.C_Encrypt(this.#session, Buffer.from(plaintext), out);
      return new Uint8Array(sealed);
    } catch (cause) {
      throw tokenError('the token does not encrypt by AES-GCM', cause);
    }
  }

  /** @throws CvmpError DECRYPT_FAILED */
  open(key: Handle, iv: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Uint8Array {
    try {
      this.#module.C_DecryptInit(this.#session, this.#gcm(iv, aad), key);
      const out = Buffer.alloc(sealed.length);
      const opened = this.#module.C_Decrypt(this.#session, Buffer.from(sealed), out);
      const plaintext = new Uint8Array(opened);
      out.fill(0);
      return plaintext;
    } catch (cause) {
      throw new CvmpError('DECRYPT_FAILED', 'the token does not decrypt this', { cause });
    }
  }

  close(): void {
    this.#module.C_CloseSession(this.#session);
  }

  #gcm(iv: Uint8Array, aad: Uint8Array): Mechanism {
    const values = { iv: Buffer.from(iv), ivBits: 96, aad: Buffer.from(aad), tagBits: 128 };
    return { mechanism: ck.aesGcm, parameter: { type: this.#gcmParameters, ...values } };
  }
}

function loadModule(path: string): Loaded {
  const known = loaded.get(path);
  if (known !== undefined) return known;
  let library: Library;
  try {
    library = createRequire(import.meta.url)('pkcs11js') as Library;
  } catch (cause) {
    const what = 'the optional package pkcs11js is not installed; it needs a C++ compiler';
    throw new CvmpError('CONFIG', what, { cause });
  }
  const module = new library.PKCS11();
  try {
    module.load(path);
    module.C_Initialize();
  } catch (cause) {
    if (codeOf(cause) !== ck.rAlreadyInitialized) {
      throw tokenError(`the PKCS #11 module ${path} does not load`, cause);
    }
  }
  const made = { module, gcmParameters: library.CK_PARAMS_AES_GCM_v240 };
  loaded.set(path, made);
  return made;
}

function codeOf(error: unknown): number | undefined {
  return (error as { readonly code?: number }).code;
}

function tokenError(what: string, cause: unknown): CvmpError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new CvmpError('CONFIG', `${what}: ${why}`, { cause });
}
