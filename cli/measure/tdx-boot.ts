import { join } from 'node:path';
import type { SecureBootSetup } from '#core/boot/secure-boot.js';
import { fromHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { parsePe } from '#core/firmware/pe.js';
import type {
  AcpiTables,
  BootVariable,
  DirectBoot,
  TdxBootInputs,
  UkiBoot,
} from '#core/tdx/launch/boot.js';
import { type TdvfSection, tdvfSectionType } from '#core/tdx/launch/tdvf.js';
import { wholeNumber } from '../terminal/typed.js';
import {
  authoritiesOf,
  checkedImages,
  readSecureBoot,
  readUkiStart,
  secureBootOptions,
  ukiOptions,
} from './boot-options.js';
import { type Inputs, oneOf } from './inputs.js';

/** Options that say what a TD is given beside its firmware. */
export const tdxBootOptions = {
  'memory-mib': {
    type: 'string',
    value: 'N',
    summary: 'Memory of the guest in MiB (QEMU q35); or give --td-hob.',
  },
  'td-hob': { type: 'string', value: 'FILE', summary: 'TD HOB as another hypervisor writes it.' },
  acpi: {
    type: 'string',
    value: 'FOLDER',
    summary: 'table-loader, rsdp and tables, as QEMU hands ACPI to the firmware (fw_cfg).',
  },
  'boot-variable': {
    type: 'string',
    value: 'NAME=FILE',
    multiple: true,
    summary: "BootOrder, Boot0000 ... in order; OVMF's own (UiApp alone) unless told.",
  },
  kernel: { type: 'string', value: 'FILE', summary: 'Kernel of qemu -kernel.' },
  initrd: { type: 'string', value: 'FILE', summary: 'Initrd of qemu -initrd.' },
  'kernel-header': {
    type: 'string',
    value: 'WORD',
    summary: 'patched (QEMU writes into the setup header) or as-is; patched unless told.',
  },
  uki: { type: 'string', value: 'FILE', summary: 'Unified kernel image, in place of a kernel.' },
  ...secureBootOptions,
  ...ukiOptions,
} as const;

/** What was typed of {@link tdxBootOptions}. */
export type TypedTdxBoot = {
  readonly [K in keyof typeof tdxBootOptions]: (typeof tdxBootOptions)[K] extends {
    readonly multiple: true;
  }
    ? readonly string[]
    : string | undefined;
};

/**
 * Everything that the RTMRs of a boot depend on, as typed; undefined in place of what is missing.
 * @throws CvmpError USAGE, MALFORMED, SIZE
 */
export async function readTdxBoot(
  sections: readonly TdvfSection[],
  typed: TypedTdxBoot,
  inputs: Inputs,
): Promise<TdxBootInputs> {
  const store = sections.find(({ type }) => type === tdvfSectionType.cfv)?.contents;
  const secureBoot = await readSecureBoot(store, typed, inputs);
  const memory = await readMemory(typed, inputs);
  const { boot, authorities } = await readBoot(typed, secureBoot, inputs);
  return {
    sections,
    memory,
    secureBoot,
    authorities,
    acpi: await readAcpi(typed.acpi, inputs),
    bootVariables: await readBootVariables(typed['boot-variable'], inputs),
    boot,
  };
}

async function readMemory(typed: TypedTdxBoot, inputs: Inputs): Promise<TdxBootInputs['memory']> {
  const tdHob = await inputs.optional('TD HOB', typed['td-hob']);
  if (tdHob !== undefined) return { tdHob };
  const range = { min: 64, max: 2 ** 24, otherwise: 0 };
  const mib = wholeNumber(typed['memory-mib'], 'memory-mib', range);
  if (mib === 0) return undefined;
  inputs.note('memory', `${mib} MiB, as QEMU q35 lays it out`);
  return mib * 2 ** 20;
}

async function readAcpi(
  folder: string | undefined,
  inputs: Inputs,
): Promise<AcpiTables | undefined> {
  if (folder === undefined) return undefined;
  const file = (name: string) => inputs.file(`ACPI ${name}`, join(folder, name));
  return {
    loader: await file('table-loader'),
    rsdp: await file('rsdp'),
    tables: await file('tables'),
  };
}

/** EFI_LOAD_OPTION of OVMF's own boot menu: attributes, description, its place in the firmware. */
const uiApp = fromHex(
  '090100002c0055006900410070007000000004071400c9bdb87cebf8344faaea3ee4af6516a1' +
    '0406140021aa2c4614760345836e8ab6f46623317fff0400',
);

async function readBootVariables(
  typed: readonly string[],
  inputs: Inputs,
): Promise<readonly BootVariable[]> {
  if (typed.length === 0) {
    inputs.note('boot variables', "OVMF's own: BootOrder 0000, Boot0000 UiApp");
    return [
      { name: 'BootOrder', data: new Uint8Array(2) },
      { name: 'Boot0000', data: uiApp },
    ];
  }
  const found: BootVariable[] = [];
  for (const text of typed) {
    const at = text.indexOf('=');
    if (at < 1) throw new CvmpError('USAGE', `--boot-variable ${text} is not NAME=FILE`);
    const name = text.slice(0, at);
    found.push({ name, data: await inputs.file(name, text.slice(at + 1)) });
  }
  return found;
}

async function readBoot(
  typed: TypedTdxBoot,
  secureBoot: SecureBootSetup,
  inputs: Inputs,
): Promise<Pick<TdxBootInputs, 'boot' | 'authorities'>> {
  if (typed.kernel !== undefined && typed.uki !== undefined) {
    throw new CvmpError('USAGE', '--kernel and --uki exclude each other');
  }
  if (typed.uki !== undefined) {
    const start = await readUkiStart(typed.uki, typed, inputs);
    const boot: UkiBoot = { kind: 'uki', ...start };
    return { boot, authorities: await authoritiesOf(checkedImages(start), secureBoot) };
  }
  if (typed.kernel === undefined) return { boot: undefined, authorities: [] };
  const boot: DirectBoot = {
    kind: 'direct',
    kernel: await inputs.file('kernel', typed.kernel),
    initrd: await inputs.optional('initrd', typed.initrd),
    cmdline: typed.cmdline ?? '',
    patched:
      oneOf(typed['kernel-header'], 'kernel-header', ['patched', 'as-is'], 'patched') === 'patched',
  };
  inputs.note('command line', boot.cmdline);
  inputs.note('kernel header', boot.patched ? 'patched by QEMU' : 'as it is');
  const images = [['kernel', parsePe(boot.kernel)]] as const;
  return { boot, authorities: await authoritiesOf(images, secureBoot) };
}
