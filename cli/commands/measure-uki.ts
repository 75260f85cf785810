import { extendAll } from '#core/boot/measured-event.js';
import { bootPhases } from '#core/boot/uki.js';
import { predictUkiBoot } from '#core/boot/uki-boot.js';
import type { Bank } from '#core/eventlog/replay.js';
import { PcrBank } from '#gen/cvmp/v1/tpm_rules_pb.js';
import { command } from '../command.js';
import {
  authoritiesOf,
  checkedImages,
  readSecureBoot,
  readUkiStart,
  secureBootOptions,
  ukiOptions,
} from '../measure/boot-options.js';
import { Inputs, oneOf } from '../measure/inputs.js';
import { predictionOutput, type Register, readLog, register } from '../measure/prediction.js';
import {
  addReferenceValues,
  type ReferenceValues,
  referenceName,
  referenceOptions,
} from '../measure/reference-values.js';

/** An initrd without systemd says none. */
const phases = ['none', ...bootPhases] as const;

const options = {
  variables: {
    type: 'string',
    value: 'FILE',
    summary: 'Variable store of the firmware (OVMF_VARS.fd): what Secure Boot starts with.',
  },
  ...secureBootOptions,
  ...ukiOptions,
  phase: {
    type: 'string',
    value: 'WORD',
    summary: `How far the boot is when it attests: ${phases.join(', ')}; enter-initrd unless told.`,
  },
  bank: { type: 'string', value: 'BANK', summary: 'sha256 or sha384; sha256 unless told.' },
  'event-log': {
    type: 'string',
    value: 'FILE',
    summary: 'TCG event log of a boot that you trust, for the PCRs that cannot be predicted.',
  },
  evidence: {
    type: 'string',
    value: 'FORMAT',
    summary: 'Whose references these are: tpm, azure-snp, azure-tdx; tpm unless told.',
  },
  events: { type: 'boolean', summary: 'Show every event too.' },
  ...referenceOptions,
} as const;

const formats = ['tpm', 'azure-snp', 'azure-tdx'] as const;
type Format = (typeof formats)[number];

/** What a boot without configuration or option ROMs says of the other PCRs: only a log knows. */
const firmwarePcrs = [0, 1, 2, 3, 6];
const predictedPcrs = [4, 5, 7, 9, 11, 12];

export const measureUki = command({
  name: 'measure uki',
  summary: 'PCRs of a unified kernel image (UKI), predicted: Reference Values for policies.',
  examples: [
    'cvmp measure uki linux.efi --variables OVMF_VARS.fd',
    'cvmp measure uki linux.efi --variables OVMF_VARS.fd --reference-values images.yaml',
  ],
  positionals: ['FILE'],
  options,
  notes:
    'PCRs 4, 5, 7, 9, 11 and 12 follow from files (docs/measuring.md says from which). PCRs 0 to 3\n' +
    'and 6 are what firmware and virtual hardware are: give the event log of a boot that you trust.',
  async run({ options: typed, positionals }, context) {
    const file = positionals[0]!;
    const inputs = new Inputs(context);
    const bank: Bank = oneOf(typed.bank, 'bank', ['sha256', 'sha384'], 'sha256');
    const phase = oneOf(typed.phase, 'phase', phases, 'enter-initrd');
    const format = oneOf(typed.evidence, 'evidence', formats, 'tpm');
    const start = await readUkiStart(file, typed, inputs);
    const store = await inputs.optional('variables', typed.variables);
    const secureBoot = await readSecureBoot(store, typed, inputs);
    const authorities = await authoritiesOf(checkedImages(start), secureBoot);
    inputs.note('phase', phase);
    inputs.note('bank', bank);
    const logged = await readLog(inputs, typed['event-log'], bank);
    const boot = { ...start, secureBoot, authorities };
    const { events, notPredicted } = predictUkiBoot({ ...boot, phase });
    // The log ends where the firmware does: phases are not in it.
    const inLog = predictUkiBoot({ ...boot, phase: 'none' }).events;
    const registers: (Register & { readonly pcr: number })[] = [];
    for (const pcr of [...firmwarePcrs, ...predictedPcrs].sort((a, b) => a - b)) {
      const name = `PCR ${pcr}`;
      const own = events.filter((event) => event.pcr === pcr);
      const firmware = firmwarePcrs.includes(pcr) ? 'needs the event log of a boot' : undefined;
      const why = firmware ?? notPredicted.find((one) => one.pcr === pcr)?.why;
      const value = why === undefined ? extendAll(own, bank) : undefined;
      const atHandOver = inLog.filter((event) => event.pcr === pcr);
      const foreseen = { name, value, why: why ?? '', events: own };
      registers.push({ ...register(foreseen, logged?.values.get(pcr), atHandOver, bank), pcr });
    }
    const references = typed['reference-values'];
    if (references !== undefined) {
      const named = referenceName(typed, file);
      const values = bootReference(registers, bank, named, format);
      await addReferenceValues(references, values, context);
    }
    const more = { bank, phase, secure_boot: secureBoot.state };
    return predictionOutput(registers, inputs, { bank, events: typed.events, more });
  },
});

/** The references of a boot, in the rules of its format. */
function bootReference(
  registers: readonly (Register & { readonly pcr: number })[],
  bank: Bank,
  named: { readonly name: string; readonly imageSvn: number },
  format: Format,
): ReferenceValues {
  const pcrs = Object.fromEntries(
    registers.flatMap(({ pcr, value }) => (value === undefined ? [] : [[pcr, value]])),
  );
  const boot = {
    bank: bank === 'sha256' ? PcrBank.SHA256 : PcrBank.SHA384,
    references: [{ pcrs, ...named }],
  };
  return {
    tpm: { tpm: { boot } },
    'azure-snp': { azureSnp: { boot } },
    'azure-tdx': { azureTdx: { boot } },
  }[format];
}
