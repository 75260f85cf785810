import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import type { CvmpError } from '#core/errors.js';
import { schemes } from '#core/schemes.js';
import { AppraisalPolicySchema, SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { PcrBank } from '#gen/cvmp/v1/tpm_rules_pb.js';
import { policyOf } from '#wire/policy.js';

type Appraisal = Omit<MessageInitShape<typeof AppraisalPolicySchema>, '$typeName'>;
type Levels = NonNullable<MessageInitShape<typeof SetKeyPolicySchema>['levels']>;

const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);
const mrTd = bytes(48);
const tdx = { references: [{ mrTd }] };
const boot = { references: [{ pcrs: { 4: bytes(32), 11: bytes(32, 2) } }] };
const tpm = { boot };
const snp = { measurements: [{ digest: bytes(48) }] };
const cca = { references: [{ initialMeasurement: bytes(32) }] };
const azureSnp = { hardware: snp, boot };
const azureTdx = { hardware: tdx, boot };

function read(appraisal: Appraisal, levels: Levels) {
  const message = create(SetKeyPolicySchema, {
    tenantId: 'acme',
    policyId: 'web',
    version: 1n,
    cvmNames: ['web-*'],
    appraisal,
    levels,
    svnFloor: 1,
  });
  return policyOf(message);
}

function refusal(appraisal: Appraisal, ...levels: Levels): readonly [string, string | undefined] {
  try {
    read(appraisal, levels);
  } catch (error) {
    return [(error as CvmpError).code, (error as CvmpError).field];
  }
  return ['accepted', undefined];
}

describe('rules of every evidence format in a policy (proto/cvmp/v1/policy.proto)', () => {
  it('every format of core/schemes.ts has a field for its rules and for its level', () => {
    const names = AppraisalPolicySchema.fields.map(({ name }) => name);
    for (const { format } of schemes) expect(names).toContain(format.replace('-', '_'));
  });

  it('all formats at once, each with its level', () => {
    const policy = read({ snp, tdx, tpm, azureSnp, azureTdx, cca }, [
      { n: 1, snp: {}, tdx: {}, tpm: {}, azureSnp: {}, azureTdx: {}, cca: {} },
    ]);
    const formats = ['snp', 'tdx', 'tpm', 'azure-snp', 'azure-tdx', 'cca'];
    expect([...policy.appraisal.formats.keys()]).toEqual(formats);
    expect([...(policy.levels[0]?.formats.keys() ?? [])]).toEqual(formats);
  });

  it('defaults are those of protocol.md s.6.8', () => {
    const { appraisal } = read({ tdx, tpm }, [{ n: 1, tdx: {}, tpm: {} }]);
    expect(appraisal.formats.get('tdx')).toMatchObject({
      references: [{ mrTd, rtmr: [undefined, undefined, undefined, undefined], imageSvn: 0 }],
      statuses: [],
      requireSecureBoot: false,
      allowSeptVe: false,
      serviceTds: [],
      mrOwner: undefined,
    });
    expect(appraisal.formats.get('tpm')).toMatchObject({
      bank: 'sha256',
      pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 15],
      allowNoSecureBoot: false,
      akTrust: [],
    });
  });

  it('what is stated comes over', () => {
    const until = Date.parse('2027-01-01T00:00:00Z');
    const { appraisal, levels } = read(
      {
        tdx: {
          references: [{ mrTd, rtmr1: bytes(48, 2), imageSvn: 3, name: 'web' }],
          statuses: ['SWHardeningNeeded', 'TDRelaunchAdvised'],
          advisoriesAccepted: [{ id: 'INTEL-SA-00960', until: timestampFromMs(until) }],
          familyAllow: [bytes(6)],
        },
      },
      [
        { n: 1, tdx: { statuses: ['UpToDate', 'SWHardeningNeeded'] } },
        { n: 2, tdx: { statuses: ['UpToDate'], tcbDateMin: timestampFromMs(until) } },
      ],
    );
    expect(appraisal.formats.get('tdx')).toMatchObject({
      references: [{ rtmr: [undefined, bytes(48, 2), undefined, undefined], name: 'web' }],
      statuses: ['SWHardeningNeeded', 'TDRelaunchAdvised'],
      advisoriesAccepted: [{ id: 'INTEL-SA-00960', until }],
      familyAllow: [bytes(6)],
    });
    expect(levels[1]?.formats.get('tdx')).toEqual({
      statuses: ['UpToDate'],
      tcbDateMin: until,
      evaluationNumberMin: 0,
      imageSvnMin: 0,
      modulesMin: [],
      advisoriesClosed: [],
    });
  });

  const path = 'policy.appraisal';
  const rows: [string, Appraisal, Levels, readonly [string, string]][] = [
    [
      'a TCB status that there is not',
      { tdx: { ...tdx, statuses: ['Fine'] } },
      [{ n: 1, tdx: {} }],
      ['INVALID_FIELD', `${path}.tdx.statuses[0]`],
    ],
    [
      'Revoked, which nothing admits',
      { tdx: { ...tdx, statuses: ['Revoked'] } },
      [{ n: 1, tdx: {} }],
      ['INVALID_FIELD', `${path}.tdx.statuses[0]`],
    ],
    [
      'a status of a level that there is not',
      { tdx },
      [{ n: 1, tdx: { statuses: ['uptodate'] } }],
      ['INVALID_FIELD', 'policy.levels[0].tdx.statuses[0]'],
    ],
    [
      'the same launch twice',
      { tdx: { references: [{ mrTd }, { mrTd, name: 'again' }] } },
      [{ n: 1, tdx: {} }],
      ['POLICY_INVALID', `${path}.tdx.references[1]`],
    ],
    [
      'a value outside of its mask',
      { tdx: { ...tdx, xfamMask: 1n, xfamValue: 2n } },
      [{ n: 1, tdx: {} }],
      ['POLICY_INVALID', `${path}.tdx.xfam_value`],
    ],
    [
      'an MRTD of another length',
      { tdx: { references: [{ mrTd: bytes(32) }] } },
      [{ n: 1, tdx: {} }],
      ['INVALID_FIELD', `${path}.tdx.references[0].mr_td`],
    ],
    [
      'no reference at all',
      { tdx: {} },
      [{ n: 1, tdx: {} }],
      ['INVALID_FIELD', `${path}.tdx.references`],
    ],
    [
      'a PCR of another bank',
      { tpm: { boot: { ...boot, bank: PcrBank.SHA384 } } },
      [{ n: 1, tpm: {} }],
      ['INVALID_FIELD', `${path}.tpm.boot.references[0].pcrs[4]`],
    ],
    [
      'a PCR that there is not',
      { tpm: { boot: { references: [{ pcrs: { 24: bytes(32) } }] } } },
      [{ n: 1, tpm: {} }],
      ['INVALID_FIELD', `${path}.tpm.boot.references[0].pcrs[24]`],
    ],
    [
      'rules without a boot',
      { tpm: {} },
      [{ n: 1, tpm: {} }],
      ['INVALID_FIELD', `${path}.tpm.boot`],
    ],
    [
      'half of a composite',
      { azureSnp: { hardware: snp } },
      [{ n: 1, azureSnp: {} }],
      ['INVALID_FIELD', `${path}.azure_snp.boot`],
    ],
    [
      'a misspelt product inside of a composite',
      { azureSnp: { ...azureSnp, hardware: { ...snp, products: ['genoa'] } } },
      [{ n: 1, azureSnp: {} }],
      ['INVALID_FIELD', `${path}.azure_snp.hardware.products[0]`],
    ],
    [
      'a realm measurement of no known hash',
      { cca: { references: [{ initialMeasurement: bytes(33) }] } },
      [{ n: 1, cca: {} }],
      ['INVALID_FIELD', `${path}.cca.references[0].initial_measurement`],
    ],
    [
      'a REM of another length than the RIM',
      { cca: { references: [{ initialMeasurement: bytes(32), rem2: bytes(48) }] } },
      [{ n: 1, cca: {} }],
      ['INVALID_FIELD', `${path}.cca.references[0].rem2`],
    ],
    [
      'a level without a rule for an admitted format',
      { azureTdx },
      [{ n: 1 }],
      ['POLICY_INVALID', 'policy.levels[0].azure_tdx'],
    ],
    [
      'a level that is weaker than the one below',
      { azureTdx },
      [
        { n: 1, azureTdx: { hardware: { evaluationNumberMin: 17 } } },
        { n: 2, azureTdx: { hardware: { evaluationNumberMin: 16 } } },
      ],
      ['POLICY_INVALID', 'policy.levels[1].azure_tdx.hardware.evaluation_number_min'],
    ],
  ];
  it.each(rows)('%s is refused by name', (_, appraisal, levels, expected) => {
    expect(refusal(appraisal, ...levels)).toEqual(expected);
  });
});
