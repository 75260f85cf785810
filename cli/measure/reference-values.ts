import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { stringify } from 'yaml';
import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import {
  type AppraisalPolicy,
  AppraisalPolicySchema,
  type SetKeyPolicy,
  SetKeyPolicySchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { type BootRules, PcrBank } from '#gen/cvmp/v1/tpm_rules_pb.js';
import type { CommandContext } from '../command.js';
import { parseFragment } from '../policy/policy-file.js';
import { toReadable } from '../terminal/readable.js';
import { readTypedText, wholeNumber } from '../terminal/typed.js';

/** Reference values as a policy has them: nothing but its `appraisal`. */
export type ReferenceValues = MessageInitShape<typeof AppraisalPolicySchema>;

/** Options of every command that can write reference values. */
export const referenceOptions = {
  name: { type: 'string', value: 'TEXT', summary: 'Name of the reference value, for people.' },
  'image-svn': {
    type: 'string',
    value: 'N',
    summary: 'Security version of the image, for the reference value; 0 unless told.',
  },
  'reference-values': {
    type: 'string',
    value: 'FILE',
    summary: 'Add the value to this file, for cvmp policy set --reference-values FILE.',
  },
} as const;

/** Option of the commands that take a policy file. */
export const policyOptions = {
  'reference-values': {
    type: 'string',
    value: 'FILE',
    multiple: true,
    summary: 'Add these reference values (cvmp measure) to the policy.',
  },
} as const;

/**
 * Name and security version of a reference value as typed.
 * @param otherwise its name, or the file that it is of
 * @throws CvmpError USAGE
 */
export function referenceName(
  typed: { readonly name: string | undefined; readonly 'image-svn': string | undefined },
  otherwise: string,
): { readonly name: string; readonly imageSvn: number } {
  const range = { min: 0, max: 2 ** 32 - 1, otherwise: 0 };
  const imageSvn = wholeNumber(typed['image-svn'], 'image-svn', range);
  return { name: (typed.name ?? basename(otherwise)).slice(0, 128), imageSvn };
}

/**
 * Adds reference values to a file, or writes it.
 * @throws CvmpError USAGE, INVALID_FIELD where the file holds something else
 */
export async function addReferenceValues(
  file: string,
  values: ReferenceValues,
  context: CommandContext,
): Promise<void> {
  const held = create(AppraisalPolicySchema, {});
  if (await exists(file, context)) addAll(held, await readReferenceValues(file, context), true);
  addAll(held, create(AppraisalPolicySchema, values), true);
  const tree = toReadable(
    SetKeyPolicySchema,
    create(SetKeyPolicySchema, { appraisal: held }),
    false,
  );
  const text = `# Reference values: cvmp policy set POLICY --reference-values FILE\n${stringify(tree, { lineWidth: 0 })}`;
  await writeFile(context.path(file), text);
  context.terminal.err(`${file}: reference value written\n`);
}

async function exists(file: string, context: CommandContext): Promise<boolean> {
  try {
    await readTypedText(context, file);
    return true;
  } catch {
    return false;
  }
}

/** @throws CvmpError USAGE, INVALID_FIELD where the file holds anything but reference values */
async function readReferenceValues(
  file: string,
  context: CommandContext,
): Promise<AppraisalPolicy> {
  return parseFragment(await readTypedText(context, file), file);
}

/**
 * A policy with the reference values of files added. The policy decides which formats it admits:
 * values of a format that it has no rules for are refused.
 * @throws CvmpError USAGE, INVALID_FIELD
 */
export async function withReferenceValues(
  policy: SetKeyPolicy,
  files: readonly string[],
  context: CommandContext,
): Promise<void> {
  for (const file of files) {
    const values = await readReferenceValues(file, context);
    policy.appraisal ??= create(AppraisalPolicySchema, {});
    addAll(policy.appraisal, values, false);
  }
}

/** Where a format keeps its references, in the rules of a policy. */
interface Format {
  readonly name: string;
  readonly boot: (appraisal: AppraisalPolicy) => BootRules | undefined;
}

const bootFormats: readonly Format[] = [
  { name: 'tpm', boot: (appraisal) => appraisal.tpm?.boot },
  { name: 'azure_snp', boot: (appraisal) => appraisal.azureSnp?.boot },
  { name: 'azure_tdx', boot: (appraisal) => appraisal.azureTdx?.boot },
];

/** @param open whether `into` takes formats that it has not yet */
function addAll(into: AppraisalPolicy, from: AppraisalPolicy, open: boolean): void {
  if (open) openFormats(into, from);
  if (from.snp !== undefined) {
    const { measurements } = into.snp ?? missing('snp');
    addEach(measurements, from.snp.measurements, (a, b) => equalBytes(a.digest, b.digest));
  }
  if (from.tdx !== undefined) {
    const { references } = into.tdx ?? missing('tdx');
    const parts = ['mrTd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const;
    addEach(references, from.tdx.references, (a, b) =>
      parts.every((part) => equalBytes(a[part], b[part])),
    );
  }
  for (const { name, boot } of bootFormats) {
    const given = boot(from);
    if (given !== undefined) addBoot(boot(into) ?? missing(name), given, name);
  }
}

/** Empty rules for each format that comes. */
function openFormats(into: AppraisalPolicy, from: AppraisalPolicy): void {
  const empty = create(AppraisalPolicySchema, {
    ...(from.snp === undefined ? {} : { snp: {} }),
    ...(from.tdx === undefined ? {} : { tdx: {} }),
    ...(from.tpm === undefined ? {} : { tpm: { boot: {} } }),
    ...(from.azureSnp === undefined ? {} : { azureSnp: { boot: {} } }),
    ...(from.azureTdx === undefined ? {} : { azureTdx: { boot: {} } }),
  });
  for (const name of ['snp', 'tdx', 'tpm', 'azureSnp', 'azureTdx'] as const) {
    if (into[name] === undefined && empty[name] !== undefined)
      Object.assign(into, { [name]: empty[name] });
  }
}

function addBoot(into: BootRules, from: BootRules, name: string): void {
  const bankOf = ({ bank }: BootRules) => (bank === PcrBank.UNSPECIFIED ? PcrBank.SHA256 : bank);
  if (into.bank === PcrBank.UNSPECIFIED && into.references.length === 0) into.bank = from.bank;
  if (bankOf(into) !== bankOf(from)) {
    const why = `appraisal.${name}.boot: the reference values are of another PCR bank`;
    throw new CvmpError('INVALID_FIELD', why, { field: `appraisal.${name}.boot.bank` });
  }
  addEach(into.references, from.references, (a, b) => {
    const [left, right] = [Object.entries(a.pcrs), Object.entries(b.pcrs)];
    return (
      left.length === right.length &&
      left.every(([pcr, value]) => equalBytes(value, b.pcrs[Number(pcr)] ?? new Uint8Array()))
    );
  });
}

/** Adds what is not there yet; a value that is there is replaced (another name or SVN). */
function addEach<T>(into: T[], from: readonly T[], same: (a: T, b: T) => boolean): void {
  for (const value of from) {
    const at = into.findIndex((one) => same(one, value));
    if (at < 0) into.push(value);
    else into[at] = value;
  }
}

function missing(format: string): never {
  const why = `appraisal.${format}: the policy has no rules for what the reference values are of`;
  throw new CvmpError('INVALID_FIELD', why, { field: `appraisal.${format}` });
}
