import { equalBytes } from '../../bytes.js';
import type { Digest } from '../identifiers.js';
import type { Measurement } from '../measurement.js';
import { imageSvnOf, nameOf, type ReferenceTriple, sha2, textOf } from './triple.js';

/**
 * All registers that a triple states: integrity registers, and measurements whose key names one.
 * Numbers stay numbers as texts.
 */
export function registersOf({ measurements }: ReferenceTriple): ReadonlyMap<string, Digest[]> {
  const found = new Map<string, Digest[]>();
  const add = (name: string, digests: readonly Digest[]) => {
    const key = name.toLowerCase().replace(/^cca\./, '');
    found.set(key, [...(found.get(key) ?? []), ...digests]);
  };
  for (const { key, values } of measurements) {
    for (const [register, digests] of values.integrityRegisters ?? []) add(`${register}`, digests);
    if (key !== undefined && values.digests !== undefined) add(textOf(key), values.digests);
  }
  return found;
}

/** The measurement that a register came from, for its name and its SVN. */
function sourceOf({ measurements }: ReferenceTriple): Measurement {
  return measurements.find(({ values }) => values.svn !== undefined) ?? measurements[0]!;
}

/** Reference values for TDX; members as in a policy's TdxReference. */
export interface TdxReferenceValues {
  readonly mrTd: Uint8Array;
  readonly rtmr: readonly [
    Uint8Array | undefined,
    Uint8Array | undefined,
    Uint8Array | undefined,
    Uint8Array | undefined,
  ];
  readonly imageSvn: number;
  readonly name: string;
}

const intelArc = '2.16.840.1.113741.';
/** `tee.mrtee` of draft-cds-rats-intel-corim-profile. */
const mrTee = -83;

/** By vendor and model, or by Intel's arc where MRTD is stated under one of its names. */
export function isTdx(triple: ReferenceTriple): boolean {
  const { class: named } = triple.environment;
  if (/^Intel\b/i.test(named?.vendor ?? '') && /TDX?\b/i.test(named?.model ?? '')) return true;
  return textOf(named?.classId).startsWith(intelArc) && mrTdOf(triple).length > 0;
}

function mrTdOf(triple: ReferenceTriple): Uint8Array[] {
  const tee = triple.measurements.flatMap(({ values }) => {
    const value = values.extensions.get(mrTee);
    if (value instanceof Uint8Array) return [value];
    const digest = Array.isArray(value) ? value[1] : undefined;
    return digest instanceof Uint8Array ? [digest] : [];
  });
  return [
    ...tee.filter(({ length }) => length === 48),
    ...sha2(registersOf(triple).get('mrtd'), 48),
  ];
}

/** Each MRTD of the triple, with the RTMRs beside it. */
export function tdxReferences(triple: ReferenceTriple): readonly TdxReferenceValues[] {
  const registers = registersOf(triple);
  const rtmr = (i: number) =>
    sha2([...(registers.get(`rtmr${i}`) ?? []), ...(registers.get(`${i}`) ?? [])], 48)[0];
  const source = sourceOf(triple);
  return mrTdOf(triple).map((mrTd) => ({
    mrTd,
    rtmr: [rtmr(0), rtmr(1), rtmr(2), rtmr(3)],
    imageSvn: imageSvnOf(triple, source, mrTd),
    name: nameOf(triple, source),
  }));
}

/** Reference values for a TPM; members as in a policy's TpmReference. */
export interface TpmReferenceValues {
  readonly bank: 'sha256' | 'sha384';
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  readonly imageSvn: number;
  readonly name: string;
}

export function isTpm({ environment: { class: named } }: ReferenceTriple): boolean {
  const words = `${named?.vendor ?? ''} ${named?.model ?? ''}`;
  return /\bv?TPM\b/i.test(words);
}

const banks = [
  ['sha256', 32],
  ['sha384', 48],
] as const;

/** PCRs of the first bank that holds any; a PCR with several values of it is ambiguous. */
export function tpmReferences(triple: ReferenceTriple): readonly TpmReferenceValues[] {
  for (const [bank, length] of banks) {
    const pcrs = new Map<number, Uint8Array>();
    for (const [name, digests] of registersOf(triple)) {
      const number = /^(?:pcr)?(\d{1,2})$/.exec(name)?.[1];
      const [value, ...more] = sha2(digests, length);
      if (number === undefined || value === undefined || Number(number) > 23) continue;
      if (more.some((other) => !equalBytes(other, value))) return [];
      pcrs.set(Number(number), value);
    }
    if (pcrs.size === 0) continue;
    const source = sourceOf(triple);
    const [first] = pcrs.values();
    return [
      { bank, pcrs, imageSvn: imageSvnOf(triple, source, first!), name: nameOf(triple, source) },
    ];
  }
  return [];
}

/** Reference values for Arm CCA; members as in a policy's CcaReference and CcaRules. */
export interface CcaReferenceValues {
  readonly initialMeasurement: Uint8Array;
  readonly extensibleMeasurements: readonly (Uint8Array | undefined)[];
  readonly imageSvn: number;
  readonly name: string;
}

/** Profiles of draft-ydb-rats-cca-endorsements, and what deployed verifiers call them. */
const ccaProfiles = {
  realm: [/^tag:arm\.com,20\d\d:(cca_)?realm#1\.\d+\.\d+$/, /^http:\/\/arm\.com\/cca\/realm\/1$/],
  platform: [/^tag:arm\.com,20\d\d:cca_platform#1\.\d+\.\d+$/, /^http:\/\/arm\.com\/cca\/ssd\/1$/],
} as const;

const matches = (patterns: readonly RegExp[], profile: string | undefined) =>
  patterns.some((pattern) => pattern.test(profile ?? ''));

export function isCcaRealm({ profile, environment: { class: named } }: ReferenceTriple): boolean {
  if (matches(ccaProfiles.realm, profile)) return true;
  return /^Arm\b/i.test(named?.vendor ?? '') && /realm/i.test(named?.model ?? '');
}

export function isCcaPlatform({ profile }: ReferenceTriple): boolean {
  return matches(ccaProfiles.platform, profile);
}

/** The RIM of a triple with the REMs beside it. */
export function ccaReferences(triple: ReferenceTriple): readonly CcaReferenceValues[] {
  const registers = registersOf(triple);
  for (const length of [32, 48, 64]) {
    const [rim] = sha2(registers.get('rim'), length);
    if (rim === undefined) continue;
    const source = sourceOf(triple);
    return [
      {
        initialMeasurement: rim,
        extensibleMeasurements: [0, 1, 2, 3].map((i) => sha2(registers.get(`rem${i}`), length)[0]),
        imageSvn: imageSvnOf(triple, source, rim),
        name: nameOf(triple, source),
      },
    ];
  }
  return [];
}

/** What a manifest says of a CCA platform: its make, its firmware, who signed that, its settings. */
export interface CcaPlatformValues {
  readonly implementations: readonly Uint8Array[];
  readonly firmware: readonly Uint8Array[];
  readonly firmwareSigners: readonly Uint8Array[];
  readonly configs: readonly Uint8Array[];
}

export function ccaPlatform(triple: ReferenceTriple): CcaPlatformValues {
  const id = triple.environment.class?.classId;
  const components = triple.measurements.filter(({ values }) => values.digests !== undefined);
  return {
    implementations:
      (id?.type === 'bytes' || id?.type === 'impl-id') && id.value.length === 32 ? [id.value] : [],
    firmware: components.flatMap(({ values }) =>
      [32, 48, 64].flatMap((length) => sha2(values.digests, length)),
    ),
    firmwareSigners: components.flatMap(({ values }) =>
      (values.cryptoKeys ?? []).flatMap((key) =>
        key.type === 'bytes' && [32, 48, 64].includes(key.value.length) ? [key.value] : [],
      ),
    ),
    configs: triple.measurements.flatMap(({ values: { rawValue } }) =>
      rawValue !== undefined &&
      (rawValue.mask === undefined || rawValue.mask.every((b) => b === 255))
        ? [rawValue.value]
        : [],
    ),
  };
}
