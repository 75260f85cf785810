import { toHex } from '../../bytes.js';
import type { Comid } from '../comid.js';
import type { Corim } from '../corim.js';
import type { Digest } from '../identifiers.js';
import type { Measurement } from '../measurement.js';
import type { Environment, Triples } from '../triples.js';
import {
  type CcaPlatformValues,
  type CcaReferenceValues,
  ccaPlatform,
  ccaReferences,
  isCcaPlatform,
  isCcaRealm,
  isTdx,
  isTpm,
  type TdxReferenceValues,
  type TpmReferenceValues,
  tdxReferences,
  tpmReferences,
} from './registers.js';
import { addSnp, isSnp, noSnp, type SnpReferences } from './snp.js';
import { type ReferenceTriple, textOf } from './triple.js';

/** Reference values of a manifest by the format of evidence that they are for. */
export interface ImportedReferences {
  readonly snp: SnpReferences;
  readonly tdx: readonly TdxReferenceValues[];
  readonly tpm: readonly TpmReferenceValues[];
  readonly cca: readonly CcaReferenceValues[];
  readonly ccaPlatform: readonly CcaPlatformValues[];
  /** What was not taken, and why: a policy must not be wider than its maker believes. */
  readonly notes: readonly string[];
}

/**
 * Reads the reference values that a policy has rules for. Only what a manifest states is admitted;
 * what cannot be said in a policy is noted, never widened.
 */
export function referencesOf(source: Corim | Comid): ImportedReferences {
  const notes: string[] = [];
  const profile = 'triples' in source ? undefined : source.profile;
  const comids = 'triples' in source ? [source] : activeComids(source, notes);
  const snp = noSnp();
  const [tdx, tpm, cca, platform] = [
    [] as TdxReferenceValues[],
    [] as TpmReferenceValues[],
    [] as CcaReferenceValues[],
    [] as CcaPlatformValues[],
  ];
  for (const triple of comids.flatMap((comid) => triplesOf(comid, profile, notes))) {
    if (isSnp(triple)) {
      notes.push(...addSnp(snp, triple));
    } else if (isCcaRealm(triple)) {
      take(cca, ccaReferences(triple), triple, 'no RIM', notes);
    } else if (isCcaPlatform(triple)) {
      platform.push(ccaPlatform(triple));
    } else if (isTdx(triple)) {
      take(tdx, tdxReferences(triple), triple, 'no MRTD', notes);
    } else if (isTpm(triple)) {
      take(tpm, tpmReferences(triple), triple, 'no PCR with one value', notes);
    } else {
      notes.push(`${triple.name}: of no format of evidence (${classText(triple.environment)})`);
    }
  }
  if (snp.chipAllow.length > 1 && snp.measurements.length > 1) {
    notes.push('measurements of single chips: a policy admits each on any of these chips');
  }
  return { snp, tdx, tpm, cca, ccaPlatform: platform, notes: [...new Set(notes)] };
}

function take<T>(
  into: T[],
  values: readonly T[],
  { name }: ReferenceTriple,
  why: string,
  notes: string[],
): void {
  into.push(...values);
  if (values.length === 0) notes.push(`${name}: ${why}`);
}

function classText({ class: named }: Environment): string {
  return (
    [textOf(named?.classId), named?.vendor, named?.model].filter(Boolean).join(' ') || 'no class'
  );
}

/** A list of active tags leaves the others out; a tag that another replaces is left out. */
function activeComids({ tags }: Corim, notes: string[]): readonly Comid[] {
  const comids = tags.filter((tag): tag is Comid => tag.kind === 'comid');
  const lists = tags.flatMap((tag) => (tag.kind === 'tag-list' ? tag.activated : []));
  const active = new Set(lists.map(({ id }) => id));
  const replaced = new Set(
    comids.flatMap(({ linkedTags }) =>
      linkedTags.filter(({ relation }) => relation === 'replaces').map(({ tagId }) => tagId),
    ),
  );
  for (const { kind } of tags) {
    if (kind === 'coswid' || kind === 'cots') notes.push(`a ${kind} tag is carried, not read`);
  }
  return comids.filter(({ tagId: { id } }) => {
    const isActive = lists.length === 0 || active.has(id);
    if (!isActive) notes.push(`${id}: not among the active tags`);
    if (replaced.has(id)) notes.push(`${id}: replaced by another tag`);
    return isActive && !replaced.has(id);
  });
}

function triplesOf(
  { tagId, triples }: Comid,
  profile: string | undefined,
  notes: string[],
): readonly ReferenceTriple[] {
  const svns = endorsedSvns(triples);
  return triples.reference.flatMap(({ environment, measurements }) => {
    const name = tagId.id;
    const kept = measurements.filter(({ authorizedBy, values }) => {
      // Evidence does not say by whom its claims are authorised.
      if (authorizedBy.length > 0) notes.push(`${name}: a measurement for one authority only`);
      const debug = values.flags?.get('is-debug') === true;
      if (debug) notes.push(`${name}: a measurement for debugging, which nothing admits`);
      return authorizedBy.length === 0 && !debug;
    });
    if (environment.group !== undefined) notes.push(`${name}: of one group of instances only`);
    if (kept.length === 0 || environment.group !== undefined) return [];
    const whole = svns.get(environmentKey(environment)) ?? 0;
    const svnOf = (digest: Uint8Array) => Math.max(whole, svns.get(toHex(digest)) ?? 0);
    return [{ environment, measurements: kept, profile, name, svnOf }];
  });
}

/**
 * SVNs that endorsements add: to a digest that is their condition, or to a whole environment. A series
 * gives each measurement the SVN of the first record that selects it.
 */
function endorsedSvns(triples: Triples): ReadonlyMap<string, number> {
  const svns = new Map<string, number>();
  const add = (key: string, svn: number | undefined) => {
    if (svn !== undefined && !svns.has(key)) svns.set(key, svn);
  };
  for (const { condition, series } of triples.endorsementSeries) {
    if (condition.authorizedBy.length > 0) continue;
    for (const { selection, addition } of series) {
      const selected = digestsOf(selection);
      // A record that selects by something else than digests cannot be judged beforehand.
      const keys = selected.length > 0 ? selected : [];
      for (const key of keys) add(key, svnOf(addition));
    }
  }
  for (const { conditions, endorsements } of triples.conditionalEndorsements) {
    const [only, ...more] = conditions;
    if (only === undefined || more.length > 0) continue;
    const svn = svnOf(endorsements.flatMap((one) => one.measurements));
    for (const key of digestsOf(only.measurements)) add(key, svn);
  }
  for (const { environment, measurements } of triples.endorsed) {
    add(environmentKey(environment), svnOf(measurements));
  }
  return svns;
}

function digestsOf(measurements: readonly Measurement[]): readonly string[] {
  return measurements
    .filter(({ authorizedBy }) => authorizedBy.length === 0)
    .flatMap(({ values }) => {
      const registers = [...(values.integrityRegisters?.values() ?? [])].flat();
      return [...(values.digests ?? []), ...registers];
    })
    .map(({ value }: Digest) => toHex(value));
}

function svnOf(measurements: readonly Measurement[]): number | undefined {
  const svn = measurements.find(({ values }) => values.svn !== undefined)?.values.svn?.value;
  return svn === undefined || svn > 0xffff_ffffn ? undefined : Number(svn);
}

function environmentKey({ class: named, instance }: Environment): string {
  const { vendor, model, layer, index } = named ?? {};
  const parts = [textOf(named?.classId), vendor, model, layer, index, textOf(instance)];
  return `environment ${parts.map((part) => part ?? '').join('|')}`;
}
