import { crypto } from '#crypto';
import { CvmpError } from '../../errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { verifyChain } from '../../x509/chain.js';
import { knownSignatures, rememberChain } from '../../x509/known-certificates.js';
import type { Statement, TdxCollateral } from './collateral.js';
import { algorithms, requireListOf } from './pck-chain.js';
import { type QeIdentity, readQeIdentity } from './qe-identity.js';
import { rememberSignedJson, type SignedJson } from './signed-json.js';
import { type CollateralHead, readTcbInfo, type TcbInfo } from './tcb-info.js';

/** Statements of Intel, verified. */
export interface IntelStatements {
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
}

/**
 * Step 2, and the issuer chain of steps 3 and 4: the signer of collateral is Intel's and not
 * revoked (protocol.md s.3.2). That the root is pinned was verified when it was chosen.
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError CHAIN_INVALID, CERT_REVOKED, COLLATERAL_STALE, UNTRUSTED_ROOT
 */
export async function verifySigner(
  { signer, root, crls }: Pick<TdxCollateral, 'signer' | 'root' | 'crls'>,
  at: number,
): Promise<void> {
  requireListOf(crls.root, root);
  try {
    const lists = [crls.root];
    await verifyChain([signer, root], { at, algorithms, crls: lists, known: knownSignatures });
    rememberChain([signer, root], lists);
  } catch (cause) {
    if (!(cause instanceof CvmpError) || cause.code !== 'CERT_EXPIRED') throw cause;
    throw new CvmpError('COLLATERAL_STALE', cause.message, { cause });
  }
}

/**
 * Steps 3 and 4: TCB Info and QE Identity are signed, of the right kind, and in date.
 * @param at time of evaluation, milliseconds since 1970
 * @throws CvmpError COLLATERAL_SIGNATURE, COLLATERAL_TYPE, COLLATERAL_STALE, MALFORMED, SIZE
 */
export async function verifyStatements(
  { tcbInfo, qeIdentity, signer }: Pick<TdxCollateral, 'tcbInfo' | 'qeIdentity' | 'signer'>,
  at: number,
): Promise<IntelStatements> {
  const statements = {
    tcbInfo: await openTcbInfo(tcbInfo, signer, 'TCB Info'),
    qeIdentity: await openQeIdentity(qeIdentity, signer, 'QE Identity'),
  };
  requireCurrent(statements.tcbInfo, 'TCB Info', at);
  requireCurrent(statements.qeIdentity, 'QE Identity', at);
  return statements;
}

const openTcbInfo = opener('tcbInfo', readTcbInfo);
const openQeIdentity = opener('enclaveIdentity', readQeIdentity);

/**
 * Stops collateral that somebody wrote himself, down to a status or a date; then reads it. What was
 * found sound under a signer is kept with it.
 */
function opener<T>(
  member: string,
  read: (value: unknown) => T,
): (statement: Statement, signer: Certificate, name: string) => Promise<T> {
  const opened = new WeakMap<SignedJson, { readonly signer: Certificate; readonly value: T }>();
  return async ({ document, json }, signer, name) => {
    const known = opened.get(json);
    if (known?.signer === signer) return known.value;
    if (!(await crypto.verify('ES256', signer.spki, json.signature, json.signedBytes))) {
      throw new CvmpError('COLLATERAL_SIGNATURE', `the signature of ${name} does not verify`, {
        field: name,
      });
    }
    const value = read(json.value);
    opened.set(json, { signer, value });
    rememberSignedJson(document, member, json);
    return value;
  };
}

/** Stops collateral from before a TCB recovery. */
function requireCurrent({ issueDate, nextUpdate }: CollateralHead, name: string, at: number): void {
  if (at >= issueDate && at <= nextUpdate) return;
  const [from, to] = [issueDate, nextUpdate].map((t) => new Date(t).toISOString());
  throw new CvmpError('COLLATERAL_STALE', `${name} is valid from ${from} to ${to}`, {
    field: name,
  });
}
