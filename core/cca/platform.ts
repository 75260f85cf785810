import type { HashName } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { ClaimSet, hashLength } from './claim-set.js';

/** Firmware that the platform measured (draft-ffm-rats-cca-token s.4.5.6). */
export interface SoftwareComponent {
  /** `RMM`, `AP_BL31`; undefined where it is not said. */
  readonly type: string | undefined;
  readonly measurement: Uint8Array;
  readonly version: string | undefined;
  /** Digest of the key that signed it. */
  readonly signerId: Uint8Array;
  readonly hash: HashName;
}

/** Claims of the platform part (draft-ffm-rats-cca-token s.4.5). */
export interface PlatformClaims {
  /** Digest of the realm's key: what binds the two parts. */
  readonly challenge: Uint8Array;
  /** 32 bytes. */
  readonly implementationId: Uint8Array;
  /** 33 bytes: a UEID. */
  readonly instanceId: Uint8Array;
  readonly config: Uint8Array;
  readonly lifecycle: number;
  readonly hash: HashName;
  readonly components: readonly SoftwareComponent[];
}

const claim = {
  challenge: 10,
  instanceId: 256,
  profile: 265,
  lifecycle: 2395,
  implementationId: 2396,
  components: 2399,
  config: 2401,
  hash: 2402,
} as const;
const component = { type: 1, measurement: 2, version: 4, signerId: 5, hash: 6 } as const;

/** Version 1 of the profile, under its former name and its present one. */
const profiles = [
  /^http:\/\/arm\.com\/CCA-SSD\/1\.\d+\.\d+$/,
  /^tag:arm\.com,20\d\d:cca_platform#1\.\d+\.\d+$/,
];

const digestRule = { min: 32, max: 64 };
const componentsMax = 64;
const configMax = 4096;

/** First byte of a UEID of random kind (RFC 9711 s.4.2.1.1). */
const ueidRandom = 0x01;

/** Lifecycle states in which nobody can debug the platform (draft-ffm-rats-cca-token s.4.5.4). */
export function isSecured(lifecycle: number): boolean {
  return lifecycle >= 0x3000 && lifecycle <= 0x30ff;
}

/** @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION, UNSUPPORTED_ALGORITHM */
export function readPlatformClaims(payload: Uint8Array): PlatformClaims {
  const field = 'cca_platform';
  const claims = new ClaimSet(payload, field);
  claims.requireProfile(claim.profile, profiles);
  const hash = claims.hash(claim.hash, 'hash_algo_id');
  const instanceId = claims.bytes(claim.instanceId, 'instance_id', { length: 33 });
  if (instanceId[0] !== ueidRandom) {
    throw new CvmpError('MALFORMED', `${field}.instance_id is no UEID`, {
      field: `${field}.instance_id`,
    });
  }
  return {
    challenge: claims.bytes(claim.challenge, 'challenge', digestRule),
    implementationId: claims.bytes(claim.implementationId, 'implementation_id', { length: 32 }),
    instanceId,
    config: claims.bytes(claim.config, 'config', { max: configMax }),
    lifecycle: claims.integer(claim.lifecycle, 'lifecycle', 0xffff),
    hash,
    components: claims.list(
      claim.components,
      'sw_components',
      { min: 1, max: componentsMax },
      (item) => readComponent(new ClaimSet(item, `${field}.sw_component`), hash),
    ),
  };
}

/** A component may name another hash than the platform. */
function readComponent(claims: ClaimSet, platformHash: HashName): SoftwareComponent {
  const hash = claims.has(component.hash) ? claims.hash(component.hash, 'hash') : platformHash;
  const optionalText = (key: number, name: string) =>
    claims.has(key) ? claims.text(key, name) : undefined;
  const length = hashLength[hash];
  return {
    type: optionalText(component.type, 'type'),
    measurement: claims.bytes(component.measurement, 'measurement', { length }),
    version: optionalText(component.version, 'version'),
    signerId: claims.bytes(component.signerId, 'signer_id', digestRule),
    hash,
  };
}
