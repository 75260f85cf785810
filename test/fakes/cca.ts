import { concat, utf8 } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { type CborMap, type CborValue, Tag } from '#core/cbor/value.js';
import { encodePlatformKey, type PlatformKey, platformKeyType } from '#core/cca/endorsement.js';
import { ecPublicKey, encodeCoseKey } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import type { Endorsements } from '#core/rats/endorsements.js';
import { crypto } from '#crypto';

// An Arm CCA platform with one realm: tokens of any content.

export const implementationId = crypto.hash('sha256', utf8('implementation'));
export const instanceId = concat(Uint8Array.of(1), crypto.hash('sha256', utf8('instance')));
const digest = (text: string) => crypto.hash('sha256', utf8(text));

export type ClaimChange = Readonly<Record<number, CborValue | undefined>>;

/** Claims with some replaced; undefined leaves one out. */
function changed(claims: readonly (readonly [number, CborValue])[], change: ClaimChange): CborMap {
  const map = new Map<number, CborValue>(claims);
  for (const [key, value] of Object.entries(change)) {
    if (value === undefined) map.delete(Number(key));
    else map.set(Number(key), value);
  }
  return map;
}

/** Firmware of a platform; claim 2399 has one or more. */
export function component(type: string, change: ClaimChange = {}): CborMap {
  return changed(
    [
      [1, type],
      [2, digest(type)],
      [4, '1.0.0'],
      [5, digest('signer')],
    ],
    change,
  );
}

export interface TokenContent {
  readonly platform?: ClaimChange;
  readonly realm?: ClaimChange;
  /** Realm key as a bare point, as in older tokens. */
  readonly barePoint?: boolean;
  /** Signs instead of the platform's or the realm's key. */
  readonly platformSigner?: EcPrivateKey;
  readonly realmSigner?: EcPrivateKey;
  /** Members as COSE_Sign1 themselves, not in byte strings. */
  readonly unwrapped?: boolean;
}

export class FakeCca {
  readonly platformKey: EcPrivateKey;
  readonly realmKey: EcPrivateKey;

  private constructor(platformKey: EcPrivateKey, realmKey: EcPrivateKey) {
    this.platformKey = platformKey;
    this.realmKey = realmKey;
  }

  static async create(): Promise<FakeCca> {
    return new FakeCca(await crypto.generateEcKey('P-384'), await crypto.generateEcKey('P-384'));
  }

  /** What a verifier is given for this platform. */
  endorsements(change: Partial<PlatformKey> = {}): Endorsements {
    const value = encodePlatformKey({
      implementationId,
      instanceId,
      key: ecPublicKey('P-384', this.platformKey.publicPoint),
      endorser: 'fake maker',
      simulated: true,
      ...change,
    });
    return { certificates: [], crls: [], documents: [{ mediaType: platformKeyType, value }] };
  }

  /** Bytes of claim 44237. */
  realmKeyBytes(barePoint = false): Uint8Array {
    const { publicPoint } = this.realmKey;
    return barePoint ? publicPoint : encodeCoseKey({ curve: 'P-384', point: publicPoint });
  }

  realmClaims(content: TokenContent = {}): CborMap {
    return changed(
      [
        [10, new Uint8Array(64).fill(7)],
        [265, 'tag:arm.com,2023:realm#1.0.0'],
        [44235, crypto.hash('sha512', utf8('config document'))],
        [44236, 'sha-256'],
        [44237, this.realmKeyBytes(content.barePoint)],
        [44238, digest('realm')],
        [44239, [0, 1, 2, 3].map((i) => digest(`rem${i}`))],
        [44240, 'sha-256'],
      ],
      content.realm ?? {},
    );
  }

  platformClaims(content: TokenContent = {}): CborMap {
    return changed(
      [
        [10, crypto.hash('sha256', this.realmKeyBytes(content.barePoint))],
        [256, instanceId],
        [265, 'tag:arm.com,2023:cca_platform#1.0.0'],
        [2395, 0x3003],
        [2396, implementationId],
        [2399, [component('RMM'), component('AP_BL31')]],
        [2400, 'https://verifier.example'],
        [2401, Uint8Array.of(0xcf, 0xcf)],
        [2402, 'sha-256'],
      ],
      content.platform ?? {},
    );
  }

  async token(content: TokenContent = {}): Promise<Uint8Array> {
    const { platformSigner = this.platformKey, realmSigner = this.realmKey } = content;
    const platform = await sign1(platformSigner, encode(this.platformClaims(content)));
    const realm = await sign1(realmSigner, encode(this.realmClaims(content)));
    return collection(
      new Map([
        [44234, content.unwrapped ? tagged(platform) : platform],
        [44241, content.unwrapped ? tagged(realm) : realm],
      ]),
    );
  }
}

export function collection(members: CborMap, tag = 399): Uint8Array {
  return encode(new Tag(tag, members));
}

/** The elements of a COSE_Sign1 made here, under its tag again. */
function tagged(message: Uint8Array): CborValue {
  return new Tag(18, elements(message));
}

function elements(message: Uint8Array): CborValue {
  const value = decode(message, { tags: [18] });
  if (!(value instanceof Tag)) throw new TypeError('no tag');
  return value.value;
}
