import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ecPublicKey } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import type { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { KeyPurpose } from '#gen/cvmp/v1/key_pb.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { policyOf, readSignedPolicy } from '#wire/policy.js';
import { policyResponseType, policyType, signTyped } from '#wire/signed-policy.js';
import { refusalOf } from '../refusal.js';

type Init = Omit<MessageInitShape<typeof SetKeyPolicySchema>, '$typeName'>;

const digest = new Uint8Array(48).fill(1);
const chip = new Uint8Array(64).fill(2);
const tcb = { bootloader: 3, tee: 0, snp: 8, microcode: 115 };

const snp = { measurements: [{ digest, imageSvn: 2, name: 'web 1.2' }] };

function message(changes: Init = {}) {
  return create(SetKeyPolicySchema, {
    tenantId: 'acme',
    policyId: 'web',
    version: 1n,
    cvmNames: ['web-*', 'db'],
    appraisal: { snp },
    levels: [
      { n: 1, snp: {}, name: 'base' },
      { n: 2, snp: { tcbMin: [{ product: 'Genoa', tcb }], guestSvnMin: 1 } },
    ],
    svnFloor: 1,
    ...changes,
  });
}

const withSnp = (changes: object): Init => ({ appraisal: { snp: { ...snp, ...changes } } });
const withLevel = (level: object): Init => ({ levels: [{ n: 1, snp: level }] });

function refusal(changes: Init): readonly [string, string | undefined] | 'accepted' {
  try {
    policyOf(message(changes));
  } catch (error) {
    return [(error as CvmpError).code, (error as CvmpError).field];
  }
  return 'accepted';
}

describe('a policy from its message', () => {
  it('has every field, with defaults for what is left out (protocol.md s.6.8)', () => {
    expect(policyOf(message())).toEqual({
      tenantId: 'acme',
      policyId: 'web',
      version: 1,
      prevDigest: undefined,
      notBefore: undefined,
      notAfter: undefined,
      cvmNames: ['web-*', 'db'],
      appraisal: {
        allowSimulated: false,
        channelBinding: 'required',
        formats: new Map([
          [
            'snp',
            {
              measurements: [{ digest, imageSvn: 2, name: 'web 1.2' }],
              vmpl: 0,
              products: [],
              productsDeny: [],
              chipAllow: [],
              chipDeny: [],
              guestPolicyMask: 0n,
              guestPolicyValue: 0n,
              guestAbiMin: undefined,
              platformInfoMask: 0n,
              platformInfoValue: 0n,
              allowNoAliasCheck: false,
              cspIds: [],
              allowReportV2: false,
              migrationAgents: [],
              idKeyDigests: [],
              authorKeyDigests: [],
              idBlocks: [],
              familyId: undefined,
              imageId: undefined,
              allowProvisionalFirmware: false,
              requireCrl: false,
              crlAgeSecondsMax: 0,
            },
          ],
        ]),
      },
      levels: [
        {
          n: 1,
          name: 'base',
          formats: new Map([
            ['snp', { tcbMin: [], guestSvnMin: 0, imageSvnMin: 0, mitigationVector: 0n }],
          ]),
        },
        {
          n: 2,
          name: '',
          formats: new Map([
            [
              'snp',
              {
                tcbMin: [{ product: 'Genoa', tcb: { fmc: 0, ...tcb } }],
                guestSvnMin: 1,
                imageSvnMin: 0,
                mitigationVector: 0n,
              },
            ],
          ]),
        },
      ],
      svnFloor: 1,
      keyRules: {
        purposes: ['disk'],
        keysMax: 1000,
        tenantOnlyRaises: false,
        leaseSeconds: 86_400,
        singleInstance: false,
      },
      reattest: false,
      destroyDelaySeconds: 604_800,
      quorums: { setPolicy: undefined, destroyKey: undefined },
    });
  });

  it('has what is said', () => {
    const policy = policyOf(
      message({
        version: 7n,
        prevDigest: new Uint8Array(32).fill(9),
        notBefore: { seconds: 1_700_000_000n, nanos: 500_000_000 },
        notAfter: { seconds: 1_800_000_000n },
        appraisal: {
          allowSimulated: true,
          snp: {
            ...snp,
            chipAllow: [chip],
            chipDeny: [chip.slice(0, 8)],
            guestPolicyMask: 3n,
            guestPolicyValue: 1n,
            familyId: chip.slice(0, 16),
          },
        },
        keyRules: {
          purposes: [KeyPurpose.DATA, KeyPurpose.DISK],
          keysMax: 5,
          tenantOnlyRaises: true,
          leaseSeconds: 60,
          singleInstance: true,
        },
        reattest: true,
      }),
    );
    expect(policy).toMatchObject({
      version: 7,
      prevDigest: new Uint8Array(32).fill(9),
      notBefore: 1_700_000_000_500,
      notAfter: 1_800_000_000_000,
      keyRules: {
        purposes: ['data', 'disk'],
        keysMax: 5,
        tenantOnlyRaises: true,
        leaseSeconds: 60,
        singleInstance: true,
      },
      reattest: true,
    });
    expect(policy.appraisal.allowSimulated).toBe(true);
    expect(policy.appraisal.formats.get('snp')).toMatchObject({
      chipAllow: [chip],
      chipDeny: [chip.slice(0, 8)],
      guestPolicyMask: 3n,
      familyId: chip.slice(0, 16),
    });
  });

  it('a policy that admits no format is a policy: it closes the door', () => {
    const policy = policyOf(message({ appraisal: {} }));
    expect(policy.appraisal.formats.size).toBe(0);
  });

  it.each<[string, Init, string, string]>([
    ['no name of the policy', { policyId: '' }, 'INVALID_FIELD', 'policy.policy_id'],
    ['a name that is none', { tenantId: 'Acme' }, 'INVALID_FIELD', 'policy.tenant_id'],
    ['version 0', { version: 0n }, 'INVALID_FIELD', 'policy.version'],
    ['a version beyond 2^53', { version: 2n ** 60n }, 'INVALID_FIELD', 'policy.version'],
    ['a short digest', { prevDigest: digest }, 'INVALID_FIELD', 'policy.prev_digest'],
    ['no CVM', { cvmNames: [] }, 'INVALID_FIELD', 'policy.cvm_names'],
    ['a pattern inside', { cvmNames: ['a*b'] }, 'INVALID_FIELD', 'policy.cvm_names[0]'],
    ['no levels', { levels: [] }, 'INVALID_FIELD', 'policy.levels'],
    ['floor 0', { svnFloor: 0 }, 'INVALID_FIELD', 'policy.svn_floor'],
    ['a time before 1970', { notAfter: { seconds: -5n } }, 'INVALID_FIELD', 'policy.not_after'],
    [
      'a measurement of 47 bytes',
      withSnp({ measurements: [{ digest: digest.slice(1) }] }),
      'INVALID_FIELD',
      'policy.appraisal.snp.measurements[0].digest',
    ],
    [
      'a measurement twice, perhaps with two SVNs',
      withSnp({ measurements: [{ digest }, { digest, imageSvn: 9 }] }),
      'POLICY_INVALID',
      'policy.appraisal.snp.measurements[1].digest',
    ],
    [
      'a product that nobody makes',
      withSnp({ products: ['Genoa', 'genoa'] }),
      'INVALID_FIELD',
      'policy.appraisal.snp.products[1]',
    ],
    [
      'a CHIP_ID of 9 bytes',
      withSnp({ chipDeny: [chip, chip.slice(0, 9)] }),
      'INVALID_FIELD',
      'policy.appraisal.snp.chip_deny[1]',
    ],
    [
      'a value outside of its mask',
      withSnp({ guestPolicyMask: 1n, guestPolicyValue: 3n }),
      'POLICY_INVALID',
      'policy.appraisal.snp.guest_policy_value',
    ],
    [
      'a TCB of a product that nobody makes',
      withLevel({ tcbMin: [{ product: 'Genova', tcb }] }),
      'INVALID_FIELD',
      'policy.levels[0].snp.tcb_min[0].product',
    ],
    [
      'two TCBs of one product',
      withLevel({
        tcbMin: [
          { product: 'Genoa', tcb },
          { product: 'Genoa', tcb: {} },
        ],
      }),
      'POLICY_INVALID',
      'policy.levels[0].snp.tcb_min[1].product',
    ],
    [
      'a component of 256',
      withLevel({ tcbMin: [{ product: 'Genoa', tcb: { snp: 256 } }] }),
      'INVALID_FIELD',
      'policy.levels[0].snp.tcb_min[0].tcb.snp',
    ],
    [
      'a level that sinks',
      {
        levels: [
          { n: 1, snp: { tcbMin: [{ product: 'Genoa', tcb }] } },
          { n: 2, snp: { tcbMin: [{ product: 'Genoa', tcb: { ...tcb, snp: 7 } }] } },
        ],
      },
      'POLICY_INVALID',
      'policy.levels[1].snp.tcb_min[Genoa].snp',
    ],
    [
      'a level without a rule for an admitted format',
      { levels: [{ n: 1 }] },
      'POLICY_INVALID',
      'policy.levels[0].snp',
    ],
  ])('refuses %s, naming the field', (_, changes, code, field) => {
    expect(refusal(changes)).toEqual([code, field]);
  });
});

describe('a signed policy', async () => {
  const key = await crypto.generateEcKey('P-256');
  const publicKey = ecPublicKey('P-256', key.publicPoint);
  const bytes = toBinary(SetKeyPolicySchema, message());

  it('is read from the bytes that were signed', async () => {
    const policy = await readSignedPolicy(await signTyped(key, policyType, bytes), [publicKey]);
    expect(policy).toEqual(policyOf(message()));
  });

  it('is not read where the same key signed it as something else', async () => {
    for (const signed of [
      await sign1(key, bytes),
      await signTyped(key, policyResponseType, bytes),
    ]) {
      expect(await refusalOf(readSignedPolicy(signed, [publicKey]))).toBe('MALFORMED');
    }
  });

  it('is not read with any byte changed', async () => {
    const signed = await signTyped(key, policyType, bytes);
    for (let i = 0; i < signed.length; i += 3) {
      const other = signed.slice();
      other[i]! ^= 0x40;
      expect(await refusalOf(readSignedPolicy(other, [publicKey]))).not.toBe('accepted');
    }
  });

  it('is not read where it says what this version does not know', async () => {
    // Field 100 of SetKeyPolicy: perhaps a restriction.
    const more = await signTyped(key, policyType, new Uint8Array([...bytes, 0xa0, 0x06, 0x01]));
    expect(await refusalOf(readSignedPolicy(more, [publicKey]))).toBe('INVALID_FIELD');
  });
});
