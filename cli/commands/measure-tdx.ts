import { predictRtmrs } from '#core/tdx/launch/boot.js';
import { pageOrders, predictMrTd } from '#core/tdx/launch/mrtd.js';
import { parseTdvf } from '#core/tdx/launch/tdvf.js';
import { command } from '../command.js';
import { Inputs, oneOf } from '../measure/inputs.js';
import { predictionOutput, type Register, readLog, register } from '../measure/prediction.js';
import {
  addReferenceValues,
  referenceName,
  referenceOptions,
} from '../measure/reference-values.js';
import { readTdxBoot, tdxBootOptions } from '../measure/tdx-boot.js';

const options = {
  'page-order': {
    type: 'string',
    value: 'WORD',
    summary: 'page (Linux 6.16, QEMU 10.1 and later) or section (before); page unless told.',
  },
  ...tdxBootOptions,
  'event-log': {
    type: 'string',
    value: 'FILE',
    summary: 'CC event log of a boot that you trust, for the RTMRs that cannot be predicted.',
  },
  events: { type: 'boolean', summary: 'Show every event too.' },
  ...referenceOptions,
} as const;

export const measureTdx = command({
  name: 'measure tdx',
  summary: 'MRTD and RTMRs of a TDX guest, predicted: Reference Values for policies.',
  examples: [
    'cvmp measure tdx OVMF.fd',
    'cvmp measure tdx OVMF.fd --memory-mib 4096 --acpi acpi/ --uki linux.efi --disk disk.img',
    'cvmp measure tdx OVMF.fd --event-log ccel.bin --reference-values images.yaml',
  ],
  positionals: ['FIRMWARE'],
  options,
  notes:
    'MRTD follows from the firmware alone. What the RTMRs need beside it, and what nobody can predict,\n' +
    'says docs/measuring.md. RTMR3 is zero until somebody in the guest extends it.',
  async run({ options: typed, positionals }, context) {
    const inputs = new Inputs(context);
    const firmware = await inputs.file('firmware', positionals[0]!);
    const order = oneOf(typed['page-order'], 'page-order', pageOrders, 'page');
    inputs.note('page order', order);
    const mrTd = predictMrTd(firmware, order);
    const sections = parseTdvf(firmware);
    const rtmrs = predictRtmrs(await readTdxBoot(sections, typed, inputs));
    const logged = await readLog(inputs, typed['event-log'], 'sha384');
    const registers: Register[] = [
      { name: 'MRTD', value: mrTd, source: 'predicted', note: '', events: [] },
      ...rtmrs.map((predicted, i) => {
        const found = 'why' in predicted ? undefined : predicted;
        const foreseen = {
          name: `RTMR${i}`,
          value: found?.value,
          why: 'why' in predicted ? predicted.why : '',
          events: found?.events ?? [],
        };
        return register(foreseen, logged?.values.get(i + 1), foreseen.events, 'sha384');
      }),
    ];
    const references = typed['reference-values'];
    if (references !== undefined) {
      const [, rtmr0, rtmr1, rtmr2] = registers.map(({ value }) => value ?? new Uint8Array());
      const named = referenceName(typed, positionals[0]!);
      const unknown = registers.filter(({ value }) => value === undefined);
      if (unknown.length > 0) {
        const names = unknown.map(({ name }) => name).join(', ');
        context.terminal.err(`warning: ${names}: not in the reference value, so not looked at\n`);
      }
      const reference = { mrTd, rtmr0: rtmr0!, rtmr1: rtmr1!, rtmr2: rtmr2!, ...named };
      await addReferenceValues(references, { tdx: { references: [reference] } }, context);
    }
    const more = { page_order: order };
    return predictionOutput(registers, inputs, { bank: 'sha384', events: typed.events, more });
  },
});
