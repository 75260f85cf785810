import { findAuthority } from '#core/boot/authority.js';
import { gptEvent } from '#core/boot/gpt.js';
import type { MeasuredEvent } from '#core/boot/measured-event.js';
import { type SecureBootSetup, secureBootOf, withoutSecureBoot } from '#core/boot/secure-boot.js';
import { readUki, type Uki, type UkiParameters } from '#core/boot/uki.js';
import { equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type PeImage, parsePe } from '#core/firmware/pe.js';
import { readVariableStore } from '#core/firmware/variable-store.js';
import { wholeNumber } from '../terminal/typed.js';
import { type Inputs, oneOf } from './inputs.js';

/** Options that say how a unified kernel image is started. */
export const ukiOptions = {
  loader: {
    type: 'string',
    value: 'FILE',
    multiple: true,
    summary: 'EFI application that starts it (a boot loader), in order; none unless told.',
  },
  addon: {
    type: 'string',
    value: 'FILE',
    multiple: true,
    summary: 'Addon (*.addon.efi) that systemd-stub finds, in the order of their names.',
  },
  disk: {
    type: 'string',
    value: 'FILE',
    summary: 'Disk image that it boots from: its partition table is measured.',
  },
  cmdline: { type: 'string', value: 'TEXT', summary: 'Command line from outside of the image.' },
  'uki-profile': {
    type: 'string',
    value: 'N',
    summary: 'Profile of a UKI that has several; 0 unless told.',
  },
  'stub-version': {
    type: 'string',
    value: 'N',
    summary: 'Major version of its systemd-stub; what the image says unless told.',
  },
  'inner-kernel': {
    type: 'string',
    value: 'WORD',
    summary: 'measured or unmeasured: whether the firmware loads the kernel inside too.',
  },
} as const;

/** Options that say what Secure Boot starts with. */
export const secureBootOptions = {
  'secure-boot': {
    type: 'string',
    value: 'WORD',
    summary: 'on, off, or absent (a firmware without it); by the variables unless told.',
  },
  pk: { type: 'string', value: 'FILE', summary: 'PK, in place of the variable store’s (.esl).' },
  kek: { type: 'string', value: 'FILE', summary: 'KEK, likewise.' },
  db: { type: 'string', value: 'FILE', summary: 'db, likewise.' },
  dbx: { type: 'string', value: 'FILE', summary: 'dbx, likewise.' },
} as const;

type Typed<O> = {
  readonly [K in keyof O]: O[K] extends { readonly multiple: true }
    ? readonly string[]
    : string | undefined;
};

/** A unified kernel image and how it is started. */
export interface UkiStart {
  readonly uki: Uki;
  readonly loaders: readonly PeImage[];
  readonly parameters: UkiParameters;
  readonly partitionTable: MeasuredEvent | undefined;
  readonly innerKernel: boolean | undefined;
  readonly stubVersion: number | undefined;
}

/** 34 sectors hold the table of a disk with sectors of 512 bytes. */
const partitionTableBytes = 34 * 512;

/** @throws CvmpError USAGE, MALFORMED, SIZE */
export async function readUkiStart(
  file: string,
  typed: Typed<typeof ukiOptions>,
  inputs: Inputs,
): Promise<UkiStart> {
  const profile = wholeNumber(typed['uki-profile'], 'uki-profile', {
    min: 0,
    max: 255,
    otherwise: 0,
  });
  const range = { min: 1, max: 99_999, otherwise: 0 };
  const told = wholeNumber(typed['stub-version'], 'stub-version', range) || undefined;
  const uki = readUki(parsePe(await inputs.file('unified kernel image', file)), profile);
  const images = async (name: string, files: readonly string[]) => {
    const found: PeImage[] = [];
    for (const one of files) found.push(parsePe(await inputs.file(name, one)));
    return found;
  };
  const loaders = await images('boot loader', typed.loader);
  const addons = await images('addon', typed.addon);
  const stubVersion = told ?? uki.stubVersion;
  inputs.note('systemd-stub', stubVersion ?? 'unknown: taken as the newest');
  if (typed.cmdline !== undefined) inputs.note('command line', typed.cmdline);
  const inner = oneOf(typed['inner-kernel'], 'inner-kernel', ['measured', 'unmeasured', ''], '');
  return {
    uki,
    loaders,
    parameters: { cmdline: typed.cmdline, addons },
    partitionTable:
      typed.disk === undefined
        ? undefined
        : gptEvent(await inputs.head('disk', typed.disk, partitionTableBytes)),
    innerKernel: inner === '' ? undefined : inner === 'measured',
    stubVersion,
  };
}

/**
 * @param store contents of a variable store; undefined: then the options must say
 * @throws CvmpError USAGE, MALFORMED, SIZE
 */
export async function readSecureBoot(
  store: Uint8Array | undefined,
  typed: Typed<typeof secureBootOptions>,
  inputs: Inputs,
): Promise<SecureBootSetup> {
  if (store === undefined && typed['secure-boot'] === undefined && typed.pk === undefined) {
    const why =
      'what Secure Boot starts with is missing: --variables FILE, or --secure-boot absent';
    throw new CvmpError('USAGE', why, { field: 'variables' });
  }
  const held = store === undefined ? withoutSecureBoot : secureBootOf(readVariableStore(store));
  const given = {
    pk: (await inputs.optional('PK', typed.pk)) ?? held.pk,
    kek: (await inputs.optional('KEK', typed.kek)) ?? held.kek,
    db: (await inputs.optional('db', typed.db)) ?? held.db,
    dbx: (await inputs.optional('dbx', typed.dbx)) ?? held.dbx,
  };
  const byKeys = typed.pk !== undefined && given.pk.length > 0 ? 'on' : held.state;
  const state = oneOf(typed['secure-boot'], 'secure-boot', ['on', 'off', 'absent'], byKeys);
  inputs.note('Secure Boot', state);
  return { state, ...given };
}

/**
 * What of db admits each image that the firmware checks; nothing where Secure Boot is not on.
 * @throws CvmpError USAGE where db admits one of them not: it would not be started
 */
export async function authoritiesOf(
  images: readonly (readonly [name: string, image: PeImage])[],
  { state, db }: SecureBootSetup,
): Promise<readonly Uint8Array[]> {
  if (state !== 'on') return [];
  const found: Uint8Array[] = [];
  for (const [name, image] of images) {
    const authority = await findAuthority(image, db);
    if (authority === undefined) {
      const why = `db admits no signature of the ${name}: with Secure Boot on it does not start`;
      throw new CvmpError('USAGE', why, { field: 'db' });
    }
    if (!found.some((one) => equalBytes(one, authority))) found.push(authority);
  }
  return found;
}

/** The images that the firmware checks on the way to a UKI's kernel. */
export function checkedImages(start: UkiStart): readonly (readonly [string, PeImage])[] {
  const named = (name: string, images: readonly PeImage[]) =>
    images.map((image) => [name, image] as const);
  return [
    ...named('boot loader', start.loaders),
    ['unified kernel image', start.uki.image],
    ...named('addon', start.parameters.addons),
  ];
}
