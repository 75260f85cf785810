import type { Ear, EarAppraisal } from '#core/ear/ear.js';

export const testAt = Date.UTC(2026, 5, 1);
export const issuedAt = testAt / 1000;
export const configDigest = new Uint8Array(32).fill(7);

export const appraisal = (change: Partial<EarAppraisal> = {}): EarAppraisal => ({
  status: 'affirming',
  vector: { 'instance-identity': 2, executables: 3, hardware: 2 },
  policyIds: ['https://policy.example/1'],
  nonces: [new Uint8Array(64).fill(5)],
  attestedKey: Uint8Array.of(0x30, 0),
  cvmp: {
    format: 'snp',
    level: 2,
    simulated: false,
    configDigest,
    launchMeasurement: new Uint8Array(48).fill(9),
  },
  ...change,
});

export const ear = (change: Partial<Ear> = {}): Ear => ({
  profile: 'tag:github.com,2023:veraison/ear',
  issuedAt,
  expiresAt: issuedAt + 600,
  verifier: { developer: 'https://verifier.example', build: '1.0' },
  status: 'affirming',
  nonces: [],
  confirmationKey: undefined,
  rawEvidence: new Uint8Array([1, 2, 3]),
  submods: new Map([['snp', appraisal()]]),
  ...change,
});
