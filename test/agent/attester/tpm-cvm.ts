import { expect } from 'vitest';
import type { Attester } from '#agent/attester/attester.js';
import { openTpmAttester } from '#agent/attester/tpm-attester.js';
import type { TpmConfig } from '#agent/config-attester.js';
import { utf8 } from '#core/bytes.js';
import { noEndorsements } from '#core/rats/endorsements.js';
import { type VerifiedEvidence, type VerifierInputs, verifyEvidence } from '#core/rats/verify.js';
import { schemes } from '#core/schemes.js';
import { defaultRules } from '#core/tpm/rules.js';
import { crypto } from '#crypto';
import type { Swtpm } from '../../fakes/swtpm.js';

// The agent's attester in a CVM with a software TPM, and the verifier at the other end.

export const configDocument = utf8('config document');
export const reportData = crypto.hash('sha512', utf8('binding'));

/** Asks the TPM for nothing special. */
export function configOf(tpm: Swtpm, change: Partial<TpmConfig> = {}): TpmConfig {
  return {
    tcti: `swtpm:path=${tpm.socket}`,
    platform: undefined,
    akHandle: 0x81018200,
    bank: 'sha256',
    pcrs: defaultRules.pcrs,
    eventLogFile: tpm.file('log'),
    measureLogFile: tpm.file('measure.log'),
    imdsUrl: 'http://127.0.0.1:1',
    ...change,
  };
}

export const openOn = (
  tpm: Swtpm,
  change: Partial<TpmConfig> = {},
  document = configDocument,
  sleep: () => Promise<void> = () => Promise.reject(new Error('nothing is waited for')),
) =>
  openTpmAttester(configOf(tpm, change), tpm.stateDir, {
    configDocument: document,
    randomBytes: crypto.randomBytes,
    sleep,
  });

export interface VerifierChange extends Partial<VerifierInputs> {
  /** What the evidence should have been made over. */
  readonly reportData?: Uint8Array;
}

/**
 * What the Key Server does with evidence of this TPM.
 * @param opener whose TPM is sent the credential; undefined: nobody's
 */
export function verify(
  tpm: Swtpm,
  collection: Uint8Array,
  opener: Attester | undefined,
  change: VerifierChange = {},
): Promise<VerifiedEvidence> {
  const { certificates, anchor } = tpm.authority;
  const { reportData: expected = reportData, ...inputs } = change;
  return verifyEvidence(
    { collection, configDocument, reportData: expected },
    {
      schemes,
      endorsements: { ...noEndorsements, certificates },
      anchors: [anchor],
      at: Date.now(),
      ...(opener?.activateCredential && {
        activate: async (key) => {
          const secret = crypto.randomBytes(32);
          const { credentialBlob, encryptedSecret } = await key.seal(secret);
          const opened = await opener.activateCredential?.(credentialBlob, encryptedSecret);
          expect(opened).toEqual(secret);
        },
      }),
      ...inputs,
    },
  );
}
