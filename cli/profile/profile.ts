import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { stringify } from 'yaml';
import { fromBase64Url, toBase64Url } from '#core/bytes.js';
import { decodeCoseKey, type EcPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { parseYaml, type YamlFile, type YamlPath } from '../terminal/yaml-file.js';

/** A server as this tenant knows it. */
export interface ServerEntry {
  /** `host:port` of its gRPC port. */
  readonly address: string;
  /** Its name: the audience of bearer tokens for it. */
  readonly name: string;
  /** File of PEM certificates that its TLS certificate must chain to, or be one of. */
  readonly tlsCa: string;
}

/** The Key Server, which is trusted by its identity key, wherever it is reached. */
export interface KeyServerEntry extends ServerEntry {
  /** Signs what it answers; its thumbprint enters config documents. */
  readonly identityKey: EcPublicKey;
  /** `host:port` at which CVMs reach it, where that differs. */
  readonly guestAddress: string | undefined;
}

/** Who somebody is, where the servers are and whom to trust. All paths are absolute. */
export interface Profile {
  /** File it was read from. */
  readonly file: string;
  /** A tenant's own profile names both; an operator's may name neither. */
  readonly tenant: string | undefined;
  /** PKCS#8 PEM, P-256: signs policies and tokens. */
  readonly tenantKey: string | undefined;
  /** PKCS#8 PEM, P-384: signs ID blocks. */
  readonly idBlockKey: string | undefined;
  /** What a delegate has in the place of the tenant's key; both or neither. */
  readonly delegation: string | undefined;
  /** PKCS#8 PEM: signs tokens under the delegation. */
  readonly delegateKey: string | undefined;
  /** PKCS#8 PEM: an operator's key, for registering tenants. */
  readonly operatorKey: string | undefined;
  /** PEM certificates of roots that are trusted beside the vendors' (simulated hardware). */
  readonly trustAnchors: readonly string[];
  readonly keyServer: KeyServerEntry | undefined;
  readonly platform: ServerEntry | undefined;
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const addressPattern = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$/;

/** @throws CvmpError USAGE where the file cannot be read, CONFIG where it is wrong. */
export async function readProfile(file: string): Promise<Profile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new CvmpError('USAGE', `cannot read the profile ${file}: ${(cause as Error).message}`, {
      cause,
    });
  }
  return parseProfile(text, file);
}

/** @throws CvmpError CONFIG naming line and entry. */
export function parseProfile(text: string, file: string): Profile {
  const yaml = parseYaml(text, file, 'CONFIG');
  const root = new Entries(yaml, []);
  const path = (typed: string) => resolve(dirname(file), typed);
  const optionalPath = (key: string) => {
    const typed = root.text(key);
    return typed === undefined ? undefined : path(typed);
  };
  const profile: Profile = {
    file,
    tenant: root.text('tenant', namePattern, 'a name of a-z, 0-9 and -'),
    tenantKey: optionalPath('tenant_key'),
    idBlockKey: optionalPath('id_block_key'),
    delegation: optionalPath('delegation'),
    delegateKey: optionalPath('delegate_key'),
    operatorKey: optionalPath('operator_key'),
    trustAnchors: root.texts('trust_anchors').map(path),
    keyServer: root.section('key_server', (entries) => keyServerEntry(entries, path)),
    platform: root.section('platform', (entries) => serverEntry(entries, path)),
  };
  root.end();
  return profile;
}

function serverEntry(entries: Entries, path: (typed: string) => string): ServerEntry {
  return {
    address: entries.required('address', addressPattern, 'host:port'),
    name: entries.required('name', namePattern, 'a name of a-z, 0-9 and -'),
    tlsCa: path(entries.required('tls_ca')),
  };
}

function keyServerEntry(entries: Entries, path: (typed: string) => string): KeyServerEntry {
  return {
    ...serverEntry(entries, path),
    identityKey: parsePublicKey(entries.required('identity_key'), 'identity_key'),
    guestAddress: entries.text('guest_address', addressPattern, 'host:port'),
  };
}

/**
 * Reads a public key as all programs of CVMP write it: a COSE_Key in base64url on one line.
 * @throws CvmpError CONFIG
 */
export function parsePublicKey(text: string, field: string): EcPublicKey {
  try {
    return decodeCoseKey(fromBase64Url(text.trim(), field), field);
  } catch (cause) {
    const why = `${field} is not a public key (COSE_Key in base64url)`;
    throw new CvmpError('CONFIG', why, { cause, field });
  }
}

/** What {@link parsePublicKey} reads. */
export function publicKeyText(key: Pick<EcPublicKey, 'curve' | 'point'>): string {
  return toBase64Url(encodeCoseKey(key));
}

/** Entries of one map; what nobody asked for is refused at the end. */
class Entries {
  readonly #file: YamlFile;
  readonly #path: YamlPath;
  readonly #left: Set<string>;

  constructor(file: YamlFile, path: YamlPath) {
    this.#file = file;
    this.#path = path;
    const map = this.#at(path);
    if (!(map instanceof Map)) file.refuse(path, 'must be a map of entries');
    this.#left = new Set((map as Map<string, unknown>).keys());
  }

  text(key: string, pattern = /./s, form = 'not empty'): string | undefined {
    const path = [...this.#path, key];
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || !pattern.test(value)) {
      return this.#file.refuse(path, `must be ${form}`);
    }
    return value;
  }

  required(key: string, pattern?: RegExp, form?: string): string {
    return this.text(key, pattern, form) ?? this.#file.refuse(this.#path, `${key} is missing`);
  }

  texts(key: string): readonly string[] {
    const value = this.#take(key) ?? [];
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
      return this.#file.refuse([...this.#path, key], 'must be a list of texts');
    }
    return value as string[];
  }

  section<T>(key: string, read: (entries: Entries) => T): T | undefined {
    if (this.#take(key) === undefined) return undefined;
    const entries = new Entries(this.#file, [...this.#path, key]);
    const value = read(entries);
    entries.end();
    return value;
  }

  end(): void {
    for (const key of this.#left) {
      this.#file.refuse([...this.#path, key], 'there is no such entry');
    }
  }

  #take(key: string): unknown {
    this.#left.delete(key);
    return this.#at([...this.#path, key]);
  }

  #at(path: YamlPath): unknown {
    let value: unknown = this.#file.tree;
    for (const step of path) {
      value = value instanceof Map ? value.get(step) : undefined;
    }
    return value;
  }
}

/** What a new profile says; paths relative to its folder, or absolute. */
export interface NewProfile {
  readonly tenant?: string;
  readonly tenantKey?: string;
  readonly idBlockKey?: string;
  readonly operatorKey?: string;
  readonly trustAnchors?: readonly string[];
  readonly keyServer?: ServerEntry & { readonly identityKey: EcPublicKey };
  readonly platform?: ServerEntry;
}

/** The text of a profile file. */
export function profileText(profile: NewProfile): string {
  const { keyServer, platform } = profile;
  const entries = {
    tenant: profile.tenant,
    tenant_key: profile.tenantKey,
    id_block_key: profile.idBlockKey,
    operator_key: profile.operatorKey,
    trust_anchors: profile.trustAnchors,
    key_server: keyServer && {
      address: keyServer.address,
      name: keyServer.name,
      tls_ca: keyServer.tlsCa,
      identity_key: publicKeyText(keyServer.identityKey),
    },
    platform: platform && {
      address: platform.address,
      name: platform.name,
      tls_ca: platform.tlsCa,
    },
  };
  const head = '# Who you are, where your servers are and whom you trust; read by cvmp.';
  return `${head}\n${stringify(entries, { lineWidth: 0 })}`;
}
