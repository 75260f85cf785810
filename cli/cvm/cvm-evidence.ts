import { readFile } from 'node:fs/promises';
import type { Client } from '@connectrpc/connect';
import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { Activate } from '#core/rats/activation.js';
import { decodeConfigDocument } from '#core/rats/config-document.js';
import { noEndorsements, type TrustAnchor } from '#core/rats/endorsements.js';
import { tenantActivationProof, tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { type VerifiedEvidence, verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { crypto } from '#crypto';
import type { CvmEvidence } from '#gen/cvmp/v1/evidence_pb.js';
import type { Cvm, CvmService } from '#gen/cvmp/v1/platform_pb.js';
import { launchInputs } from '#wire/launch.js';
import { readTrustAnchors, vendorRoots } from '../evidence/trust-anchors.js';
import type { Profile } from '../profile/profile.js';
import { configDocument } from './launch.js';

/** Vendor roots, and those that the profile names (simulated hardware). @throws CvmpError USAGE */
export async function profileAnchors(profile: Profile): Promise<readonly TrustAnchor[]> {
  const own = [];
  for (const name of profile.trustAnchors) {
    const bytes = await readFile(name).catch((cause: Error) => {
      throw new CvmpError('USAGE', `cannot read the trust anchors ${name}: ${cause.message}`);
    });
    own.push(...readTrustAnchors({ name, bytes: new Uint8Array(bytes) }));
  }
  return [...vendorRoots, ...own];
}

/**
 * Verifies what a CVM answered to a fresh nonce of this tenant: genuine, made now, and of a CVM that
 * this tenant configured so.
 * @throws CvmpError with the code of the step that failed
 */
export async function verifyCvmEvidence(
  evidence: CvmEvidence,
  nonce: Uint8Array,
  expected: {
    readonly profile: Profile;
    readonly cvmName: string;
    readonly at: number;
    /** Runs both credential legs through the platform. */
    readonly activate: Activate;
  },
): Promise<VerifiedEvidence> {
  const { profile, cvmName, at, activate } = expected;
  const { configDocument: found, cmwCollection: collection } = evidence;
  const anchors = await profileAnchors(profile);
  const reportData = tenantVerifyReportData(nonce, found);
  const verified = await verifyEvidence(
    { collection, configDocument: found, reportData },
    { schemes, endorsements: noEndorsements, anchors, at, activate },
  );
  const ours = await configDocument(profile, cvmName);
  if (!equalBytes(found, ours)) throw otherDocument(found, ours);
  return verified;
}

/**
 * Both legs of AK trust a (protocol.md s.4) with a running CVM: the credential is made here, opened by
 * its TPM, and the platform only relays.
 */
export function activationBy(
  cvms: Client<typeof CvmService>,
  cvm: string,
  nonce: Uint8Array,
): Activate {
  return async (key) => {
    const secret = crypto.randomBytes(32);
    const credential = await key.seal(secret);
    const expected = tenantActivationProof(secret, nonce, credential);
    secret.fill(0);
    const { proof } = await cvms.cVMActivate({ cvm, nonce, ...credential });
    if (equalBytes(proof, expected)) return;
    throw new CvmpError('AK_UNTRUSTED', 'the TPM of the EK did not open the credential');
  };
}

/** Names what is different: a CVM of somebody else, or one that would ask another Key Server. */
function otherDocument(found: Uint8Array, ours: Uint8Array): CvmpError {
  const [a, b] = [decodeConfigDocument(found), decodeConfigDocument(ours)];
  const servers = (d: typeof a) => d.keyServers.map(toHex).join(' ');
  const differences = [
    a.tenantId === b.tenantId ? '' : `tenant ${a.tenantId}`,
    a.cvmName === b.cvmName ? '' : `name ${a.cvmName}`,
    equalBytes(a.policyAnchor, b.policyAnchor) ? '' : `policy anchor ${toHex(a.policyAnchor)}`,
    servers(a) === servers(b) ? '' : `Key Server ${servers(a)}`,
  ].filter((text) => text !== '');
  const what = differences.join(', ') || 'other entries';
  return new CvmpError('CONFIG_MISMATCH', `the CVM is bound to ${what}`);
}

/**
 * Recomputes the measurement from what the platform says that it launched.
 * @param firmware the tenant's own copy; undefined: ask the platform for it
 * @returns undefined where the firmware is not to be had
 * @throws CvmpError POLICY_MEASUREMENT where the evidence shows another
 */
export async function requireClaimedLaunch(
  { claims }: VerifiedEvidence,
  cvm: Cvm,
  cvms: Client<typeof CvmService>,
  firmware: Uint8Array | undefined,
): Promise<'as the platform says' | undefined> {
  const inputs = cvm.launchInputs;
  if (inputs === undefined) return undefined;
  const bytes = firmware ?? (await cvms.cVMImage({ digest: inputs.imageDigest })).firmware;
  if (!equalBytes(crypto.hash('sha256', bytes), inputs.firmwareDigest)) return undefined;
  const measurement = launchMeasurement(launchInputs(inputs, bytes));
  if (equalBytes(measurement, claims.launchMeasurement)) return 'as the platform says';
  const found = toHex(claims.launchMeasurement);
  const why = `it was launched with ${found}; what the platform says gives ${toHex(measurement)}`;
  throw new CvmpError('POLICY_MEASUREMENT', why);
}
