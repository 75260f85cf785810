import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { decodeMap } from '../cbor/read.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { label } from '../cose/headers.js';
import { type EcPublicKey, thumbprint } from '../cose/key.js';
import { openSign1, sign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { digestLength, leavesMax } from './tree.js';

/**
 * A Key Server's word on which record of a tenant was the last one below a size of its log. Every
 * record names the tenant's record before it, so this leaves no room for one that is kept back: a
 * later record would contradict the signature, and the tenant would have both.
 */
export interface TenantHead {
  readonly tenantId: string;
  /** Size of the log. */
  readonly size: number;
  /** Root of the log at that size. */
  readonly root: Uint8Array;
  /** Records of the tenant below that size. */
  readonly sequence: number;
  /** Leaf digest of the last of them; 32 zero bytes where there is none. */
  readonly leaf: Uint8Array;
}

export const tenantHeadType = 'application/cvmp-tenant-head+cbor';

export async function signTenantHead(
  identity: EcPrivateKey,
  keyServer: Uint8Array,
  head: TenantHead,
): Promise<Uint8Array> {
  const payload = encode(
    new Map<number, CborValue>([
      [1, head.tenantId],
      [2, head.size],
      [3, head.root],
      [4, head.sequence],
      [5, head.leaf],
      [6, keyServer],
    ]),
  );
  const headers = new Map<CborKey, CborValue>([[label.typ, tenantHeadType]]);
  return sign1(identity, payload, { protected: headers });
}

/** @throws CvmpError SIGNATURE_INVALID, SERVER_UNTRUSTED, MALFORMED, NOT_CANONICAL, SIZE */
export async function openTenantHead(
  signed: Uint8Array,
  keyServer: EcPublicKey,
): Promise<TenantHead> {
  const { payload } = await openSign1(signed, keyServer, { typ: tenantHeadType });
  const { signer, ...head } = decodeMap(payload, 'tenant_head', (m) => ({
    tenantId: m.text(1, 'tenant_id', { max: 64 }),
    size: m.integer(2, 'size', { max: leavesMax }),
    root: m.bytes(3, 'root', { length: digestLength }),
    sequence: m.integer(4, 'sequence', { max: leavesMax }),
    leaf: m.bytes(5, 'leaf', { length: digestLength }),
    signer: m.bytes(6, 'key_server', { length: digestLength }),
  }));
  if (!equalBytes(signer, thumbprint(keyServer))) {
    throw new CvmpError('SERVER_UNTRUSTED', 'the tenant head is of another Key Server');
  }
  return head;
}
