import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { toHex } from '#core/bytes.js';
import type { ImportedReferences } from '#core/corim/references/import.js';
import { type SetKeyPolicy, SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { PcrBank } from '#gen/cvmp/v1/tpm_rules_pb.js';

type PolicyInit = MessageInitShape<typeof SetKeyPolicySchema>;
type Appraisal = Exclude<NonNullable<PolicyInit['appraisal']>, { $typeName: string }>;
type Level = Exclude<NonNullable<PolicyInit['levels']>[number], { $typeName: string }>;

/** What a policy is to be called and to cover; parts of one have neither. */
export interface PolicyNames {
  readonly policyId: string;
  readonly cvmNames: readonly string[];
}

/**
 * Reference values as the parts of a policy that they belong to: rules for each format that has any,
 * and a first level that looks at them. Rules that reference values do not speak of keep their
 * defaults.
 */
export function policyOfReferences(
  references: ImportedReferences,
  { policyId, cvmNames }: PolicyNames,
): SetKeyPolicy {
  const appraisal: Appraisal = {};
  const level: Level = { n: 1 };
  addSnp(references.snp, appraisal, level);
  addTdx(references.tdx, appraisal, level);
  addTpm(references.tpm, appraisal, level);
  addCca(references, appraisal, level);
  return create(SetKeyPolicySchema, {
    policyId,
    cvmNames: [...cvmNames],
    appraisal,
    levels: [level],
    svnFloor: 1,
  });
}

function addSnp(snp: ImportedReferences['snp'], appraisal: Appraisal, level: Level): void {
  if (snp.measurements.length === 0) return;
  const { guestPolicy, platformInfo, familyId, imageId } = snp;
  appraisal.snp = {
    measurements: once(snp.measurements),
    idKeyDigests: snp.idKeyDigests,
    authorKeyDigests: snp.authorKeyDigests,
    chipAllow: snp.chipAllow,
    cspIds: snp.cspIds,
    vmpl: snp.vmpl ?? 0,
    guestPolicyMask: guestPolicy?.mask ?? 0n,
    guestPolicyValue: guestPolicy?.value ?? 0n,
    platformInfoMask: platformInfo?.mask ?? 0n,
    platformInfoValue: platformInfo?.value ?? 0n,
    ...(familyId === undefined ? {} : { familyId }),
    ...(imageId === undefined ? {} : { imageId }),
  };
  level.snp = { guestSvnMin: snp.guestSvnMin };
}

function addTdx(tdx: ImportedReferences['tdx'], appraisal: Appraisal, level: Level): void {
  if (tdx.length === 0) return;
  appraisal.tdx = {
    references: once(
      tdx.map(({ mrTd, rtmr, imageSvn, name }) => ({
        mrTd,
        rtmr0: rtmr[0] ?? new Uint8Array(),
        rtmr1: rtmr[1] ?? new Uint8Array(),
        rtmr2: rtmr[2] ?? new Uint8Array(),
        rtmr3: rtmr[3] ?? new Uint8Array(),
        imageSvn,
        name,
      })),
    ),
  };
  level.tdx = {};
}

/** A policy is of one bank: that of the first reference. */
function addTpm(tpm: ImportedReferences['tpm'], appraisal: Appraisal, level: Level): void {
  const [first] = tpm;
  if (first === undefined) return;
  const references = tpm
    .filter(({ bank }) => bank === first.bank)
    .map(({ pcrs, imageSvn, name }) => ({ pcrs: Object.fromEntries(pcrs), imageSvn, name }));
  const bank = first.bank === 'sha384' ? PcrBank.SHA384 : PcrBank.SHA256;
  appraisal.tpm = { boot: { references: once(references), bank } };
  level.tpm = {};
}

function addCca(
  { cca, ccaPlatform }: ImportedReferences,
  appraisal: Appraisal,
  level: Level,
): void {
  if (cca.length === 0) return;
  appraisal.cca = {
    references: once(
      cca.map(({ initialMeasurement, extensibleMeasurements: rem, imageSvn, name }) => ({
        initialMeasurement,
        rem0: rem[0] ?? new Uint8Array(),
        rem1: rem[1] ?? new Uint8Array(),
        rem2: rem[2] ?? new Uint8Array(),
        rem3: rem[3] ?? new Uint8Array(),
        imageSvn,
        name,
      })),
    ),
    implementations: once(ccaPlatform.flatMap((one) => one.implementations)),
    firmware: once(ccaPlatform.flatMap((one) => one.firmware)),
    firmwareSigners: once(ccaPlatform.flatMap((one) => one.firmwareSigners)),
    configs: once(ccaPlatform.flatMap((one) => one.configs)),
  };
  level.cca = {};
}

/** The same value from two tags is one reference. */
function once<T extends object>(items: readonly T[]): T[] {
  const seen = new Set<string>();
  return items.filter((item) => {
    const key = JSON.stringify(item, (_name, value: unknown) =>
      value instanceof Uint8Array ? toHex(value) : value,
    );
    return !seen.has(key) && seen.add(key);
  });
}
