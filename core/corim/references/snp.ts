import { equalBytes, fromUtf8, isZero } from '../../bytes.js';
import { imageSvnOf, nameOf, type ReferenceTriple, sha2, textOf, wordOf } from './triple.js';

/** Reference values for SEV-SNP; members are named as in a policy's SnpRules. */
export interface SnpReferences {
  readonly measurements: {
    readonly digest: Uint8Array;
    readonly imageSvn: number;
    readonly name: string;
  }[];
  readonly idKeyDigests: Uint8Array[];
  readonly authorKeyDigests: Uint8Array[];
  readonly chipAllow: Uint8Array[];
  readonly cspIds: string[];
  guestPolicy: { readonly mask: bigint; readonly value: bigint } | undefined;
  platformInfo: { readonly mask: bigint; readonly value: bigint } | undefined;
  vmpl: number | undefined;
  familyId: Uint8Array | undefined;
  imageId: Uint8Array | undefined;
  guestSvnMin: number;
}

/** draft-deeglaze-amd-sev-snp-corim-profile s.3.1.1: signed by a chip, by a cloud provider. */
const classIds = { chip: '1.3.6.1.4.1.3704.3.1', csp: '1.3.6.1.4.1.3704.3.2' } as const;

/** mkeys of the profile's reference values that a policy has rules for. */
const mkey = {
  guestSvn: '1',
  policy: '2',
  familyId: '3',
  imageId: '4',
  vmpl: '5',
  platformInfo: '7',
  measurement: '641',
  idKeyDigest: '643',
  authorKeyDigest: '644',
} as const;

/** By the OIDs of AMD's arc, or by vendor and model. */
export function isSnp({ environment: { class: named } }: ReferenceTriple): boolean {
  const id = textOf(named?.classId);
  if (id === classIds.chip || id === classIds.csp) return true;
  return (
    /^(AMD\b|Advanced Micro Devices)/i.test(named?.vendor ?? '') && /SNP/i.test(named?.model ?? '')
  );
}

export const noSnp = (): SnpReferences => ({
  measurements: [],
  idKeyDigests: [],
  authorKeyDigests: [],
  chipAllow: [],
  cspIds: [],
  guestPolicy: undefined,
  platformInfo: undefined,
  vmpl: undefined,
  familyId: undefined,
  imageId: undefined,
  guestSvnMin: 0,
});

/**
 * Adds what a triple says of SNP.
 * @returns why something in it was not taken; empty where all was
 */
export function addSnp(found: SnpReferences, triple: ReferenceTriple): readonly string[] {
  const notes: string[] = [];
  const disagree = (what: string) =>
    notes.push(`${what} differs between triples; the first counts`);
  for (const measurement of triple.measurements) {
    const { values } = measurement;
    const raw = values.rawValue;
    const key = textOf(measurement.key);
    const bytes = raw?.value ?? sha2(values.digests, 48)[0];
    switch (measurement.key === undefined ? mkey.measurement : key) {
      case mkey.measurement:
        addMeasurements(found, triple, measurement, notes);
        break;
      case mkey.idKeyDigest:
        if (bytes?.length === 48 && !isZero(bytes)) addOnce(found.idKeyDigests, bytes);
        break;
      case mkey.authorKeyDigest:
        if (bytes?.length === 48 && !isZero(bytes)) addOnce(found.authorKeyDigests, bytes);
        break;
      case mkey.guestSvn:
        found.guestSvnMin = Math.max(found.guestSvnMin, Number(values.svn?.value ?? 0n));
        break;
      case mkey.policy:
        if (raw === undefined) break;
        if (!same(found.guestPolicy, maskedOf(raw))) disagree('POLICY');
        found.guestPolicy ??= maskedOf(raw);
        break;
      case mkey.platformInfo:
        if (raw === undefined) break;
        if (!same(found.platformInfo, maskedOf(raw))) disagree('PLATFORM_INFO');
        found.platformInfo ??= maskedOf(raw);
        break;
      case mkey.vmpl:
        if (raw === undefined) break;
        if (found.vmpl !== undefined && found.vmpl !== Number(wordOf(raw.value))) disagree('VMPL');
        found.vmpl ??= Number(wordOf(raw.value));
        break;
      case mkey.familyId:
        if (bytes?.length === 16 && !isZero(bytes)) found.familyId ??= bytes;
        break;
      case mkey.imageId:
        if (bytes?.length === 16 && !isZero(bytes)) found.imageId ??= bytes;
        break;
      default:
        notes.push(`${triple.name}: element ${key} of a report is no rule of a policy`);
    }
  }
  addInstance(found, triple, notes);
  return notes;
}

function addMeasurements(
  found: SnpReferences,
  triple: ReferenceTriple,
  measurement: ReferenceTriple['measurements'][number],
  notes: string[],
): void {
  const digests = sha2(measurement.values.digests, 48);
  if (digests.length === 0) notes.push(`${triple.name}: a measurement without a SHA-384 digest`);
  for (const digest of digests) {
    if (found.measurements.some((one) => equalBytes(one.digest, digest))) continue;
    const imageSvn = imageSvnOf(triple, measurement, digest);
    found.measurements.push({ digest, imageSvn, name: nameOf(triple, measurement) });
  }
}

/** An instance narrows to one chip, or names the provider whose VLEK signs. */
function addInstance(found: SnpReferences, triple: ReferenceTriple, notes: string[]): void {
  const { instance, class: named } = triple.environment;
  if (instance === undefined) return;
  if (instance.type !== 'bytes') {
    notes.push(`${triple.name}: an instance that is no chip`);
  } else if (textOf(named?.classId) === classIds.csp) {
    const csp = fromUtf8(instance.value, 'instance');
    if (!found.cspIds.includes(csp)) found.cspIds.push(csp);
  } else if (instance.value.length === 64 || instance.value.length === 8) {
    addOnce(found.chipAllow, instance.value);
  } else {
    notes.push(`${triple.name}: an instance that is no chip`);
  }
}

function addOnce(list: Uint8Array[], bytes: Uint8Array): void {
  if (!list.some((one) => equalBytes(one, bytes))) list.push(bytes);
}

type Masked = NonNullable<SnpReferences['guestPolicy']>;

/** A value without a mask is meant whole. */
function maskedOf(raw: {
  readonly value: Uint8Array;
  readonly mask: Uint8Array | undefined;
}): Masked {
  const mask = raw.mask === undefined ? 0xffff_ffff_ffff_ffffn : wordOf(raw.mask);
  return { mask, value: wordOf(raw.value) & mask };
}

function same(known: Masked | undefined, next: Masked): boolean {
  return known === undefined || (known.mask === next.mask && known.value === next.value);
}
