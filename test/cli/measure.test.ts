import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { extendAll } from '#core/boot/measured-event.js';
import { withoutSecureBoot } from '#core/boot/secure-boot.js';
import { noParameters, readUki } from '#core/boot/uki.js';
import { predictUkiBoot } from '#core/boot/uki-boot.js';
import { concat, fromHex, toHex, utf8 } from '#core/bytes.js';
import { parsePe } from '#core/firmware/pe.js';
import {
  firmwarePagesDigest,
  launchMeasurement,
  svsmLaunchMeasurement,
} from '#core/snp/launch/measure.js';
import { sevEsLaunchDigest, sevLaunchDigest } from '#core/snp/launch/sev.js';
import { predictMrTd } from '#core/tdx/launch/mrtd.js';
import { crypto } from '#crypto';
import { simulatedFirmware, simulatedSvsm } from '#sim/firmware.js';
import { simulatedTdvf } from '#sim/tdvf.js';
import { eventLog } from '../fakes/event-log.js';
import { fakePe } from '../fakes/pe.js';
import { fakeVariableStore } from '../fakes/variable-store.js';
import { temporaryFolder } from '../run-folder.js';
import { commandLine } from './command-line.js';

const kernel = fakePe([{ name: '.text', data: new Uint8Array(64) }]);
const uki = fakePe([
  { name: '.linux', data: kernel },
  { name: '.cmdline', data: utf8('quiet') },
  { name: '.sdmagic', data: utf8('#### LoaderInfo: systemd-stub 255 ####') },
]);
const firmware = simulatedFirmware();
const svsm = simulatedSvsm();
const variables = fakeVariableStore([]);
const tdvf = simulatedTdvf({ variables });

let folder: string;
beforeAll(() => {
  folder = temporaryFolder('measure');
  const files = { kernel, uki, firmware, svsm, variables, tdvf, initrd: utf8('initrd') };
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  const log = [1, 2, 3].map((register) => ({ register, type: 4, data: utf8(`${register}`) }));
  writeFileSync(join(folder, 'ccel'), eventLog(log, ['sha384']));
  writeFileSync(join(folder, 'tpm-log'), eventLog(log, ['sha1', 'sha256']));
  mkdirSync(join(folder, 'acpi'));
  for (const name of ['table-loader', 'rsdp', 'tables']) {
    writeFileSync(join(folder, 'acpi', name), name);
  }
});

/** Words that name a file of the folder stand for its path. */
function run(argv: string) {
  return commandLine(argv.split(' ').map((word) => word.replace(/^@/, `${folder}/`)));
}

interface Answer {
  readonly measurement: string;
  readonly registers: readonly {
    readonly name: string;
    readonly value: string | null;
    readonly source: string;
    readonly note: string;
    readonly events: readonly { readonly what: string; readonly digest: string }[];
  }[];
  readonly inputs: readonly { readonly name: string; readonly value: string }[];
}

async function measured(argv: string): Promise<Answer> {
  const { code, terminal, json } = await run(`measure ${argv} --json`);
  expect(terminal.stderr).toBe('');
  expect(code).toBe(0);
  return json() as unknown as Answer;
}

const registerOf = (answer: Answer, name: string) =>
  answer.registers.find((one) => one.name === name)!;

describe('cvmp measure snp', () => {
  const cpu = { vcpus: 2, cpuSignature: 0x800f12, guestFeatures: 1n, vmmType: 'QEMU' } as const;
  const boot = {
    kernelDigest: crypto.hash('sha256', kernel),
    initrdDigest: crypto.hash('sha256', utf8('initrd')),
    cmdline: 'quiet',
  };
  const files = '--kernel @kernel --initrd @initrd --cmdline quiet';

  test.each<[string, () => Uint8Array]>([
    ['--vcpus 2', () => launchMeasurement({ firmware, boot: undefined, ...cpu })],
    [`--vcpus 2 ${files}`, () => launchMeasurement({ firmware, boot, ...cpu })],
    [
      '--vcpus 2 --vmm ec2 --cpu-signature 0xa10f10 --guest-features 21',
      () =>
        launchMeasurement({
          firmware,
          boot: undefined,
          vcpus: 2,
          cpuSignature: 0xa10f10,
          guestFeatures: 0x21n,
          vmmType: 'EC2',
        }),
    ],
    [
      `--vcpus 2 --firmware-pages-digest ${'11'.repeat(48)}`,
      () =>
        launchMeasurement({
          firmware,
          boot: undefined,
          ...cpu,
          firmwarePagesDigest: fromHex('11'.repeat(48)),
        }),
    ],
    [
      '--vcpus 2 --svsm @svsm --variable-store-bytes 4096',
      () => svsmLaunchMeasurement({ firmware, svsm, variableStoreLength: 4096, ...cpu }),
    ],
    ['--mode firmware-pages', () => firmwarePagesDigest(firmware)],
    [`--mode sev ${files}`, () => sevLaunchDigest({ firmware, boot })],
    [`--mode sev-es --vcpus 2 ${files}`, () => sevEsLaunchDigest({ firmware, boot, ...cpu })],
  ])('from files: %s', async (options, expected) => {
    const answer = await measured(`snp --firmware @firmware ${options}`);
    expect(answer.measurement).toBe(toHex(expected()));
    expect(answer.inputs.map(({ name }) => name)).toContain('firmware');
  });

  test('people see the value and every input', async () => {
    const { terminal } = await run('measure snp --firmware @firmware --vcpus 2');
    expect(terminal.stdout).toContain('MEASUREMENT  ');
    expect(terminal.stdout).toContain('2 of EPYC-v4');
    expect(terminal.stdout).toContain(toHex(crypto.hash('sha256', firmware)));
  });

  test.each<[string, number, string]>([
    ['', 2, '--image IMAGE or --firmware FILE is missing'],
    ['--image x --vmm ec2', 2, '--vmm is for files'],
    ['--firmware @firmware --vcpu-type Xeon', 2, '--vcpu-type must be one of'],
    ['--firmware @firmware --initrd @initrd', 2, 'need --kernel'],
    ['--firmware @firmware --mode snp-svsm', 2, '--svsm FILE is missing'],
    ['--firmware @firmware --mode tdx', 2, '--mode must be one of'],
    ['--firmware @firmware --guest-features x', 2, 'must be a number in hex'],
    ['--firmware @firmware --svsm @svsm --kernel @kernel', 2, 'not measured'],
    ['--firmware @kernel', 1, 'MALFORMED'],
    ['--firmware @nothing', 2, 'cannot read'],
  ])('`%s` is refused: exit code %i', async (options, code, message) => {
    const found = await run(`measure snp ${options}`.trim());
    expect(found.terminal.stderr).toContain(message);
    expect(found.code).toBe(code);
  });
});

describe('cvmp measure tdx', () => {
  test('MRTD follows from the firmware alone; what else is missing is said', async () => {
    const answer = await measured('tdx @tdvf');
    expect(registerOf(answer, 'MRTD').value).toBe(toHex(predictMrTd(tdvf)));
    expect(answer.registers.slice(1).map(({ source, note }) => [source, note])).toEqual([
      ['not predicted', 'needs the memory of the guest, or its TD HOB'],
      ['not predicted', 'needs a kernel or a unified kernel image'],
      ['not predicted', 'needs a kernel or a unified kernel image'],
    ]);
    const other = await measured('tdx @tdvf --page-order section');
    expect(registerOf(other, 'MRTD').value).toBe(toHex(predictMrTd(tdvf, 'section')));
  });

  test('with all inputs every RTMR is predicted', async () => {
    const all = '--memory-mib 2048 --acpi @acpi --kernel @kernel --initrd @initrd --cmdline quiet';
    const answer = await measured(`tdx @tdvf ${all} --kernel-header as-is`);
    expect(answer.registers.map(({ source }) => source)).toEqual(new Array(4).fill('predicted'));
    const names = registerOf(answer, 'RTMR0').events.map(({ what }) => what);
    expect(names.slice(-2)).toEqual(['variable BootOrder', 'variable Boot0000']);
    expect(registerOf(answer, 'RTMR1').events[0]!.what).toBe('kernel');
    const { terminal } = await run(`measure tdx @tdvf ${all} --kernel-header as-is --events`);
    expect(terminal.stdout).toContain('Exit Boot Services Invocation');
  });

  test('what cannot be predicted comes from the log of a boot', async () => {
    const answer = await measured('tdx @tdvf --uki @uki --event-log @ccel');
    const [, rtmr0, rtmr1, rtmr2] = answer.registers;
    const logged = (text: string) =>
      toHex(crypto.hash('sha384', new Uint8Array(48), crypto.hash('sha384', utf8(text))));
    expect([rtmr0!.source, rtmr0!.value]).toEqual(['event log', logged('1')]);
    expect([rtmr1!.source, rtmr1!.value]).toEqual(['event log', logged('2')]);
    expect(rtmr2!.source).toBe('predicted');
    expect(rtmr2!.note).toBe(`the event log has ${logged('3')}`);
  });

  test('a kernel that QEMU could not start is refused', async () => {
    const all = '--memory-mib 2048 --acpi @acpi --kernel @kernel';
    const { code, terminal } = await run(`measure tdx @tdvf ${all}`);
    expect([code, terminal.stderr]).toEqual([1, expect.stringContaining('MALFORMED')]);
  });
});

describe('cvmp measure uki', () => {
  test('PCRs 4, 7, 9, 11 and 12 follow from the files', async () => {
    const answer = await measured('uki @uki --secure-boot absent --phase ready --bank sha384');
    const { events } = predictUkiBoot({
      loaders: [],
      uki: readUki(parsePe(uki)),
      secureBoot: withoutSecureBoot,
      authorities: [],
      partitionTable: undefined,
      innerKernel: undefined,
      parameters: noParameters,
      stubVersion: 255,
      phase: 'ready',
    });
    for (const pcr of [4, 7, 9, 11, 12]) {
      const own = events.filter((event) => event.pcr === pcr);
      const found = registerOf(answer, `PCR ${pcr}`);
      expect([found.source, found.value]).toEqual(['predicted', toHex(extendAll(own, 'sha384'))]);
    }
    expect(registerOf(answer, 'PCR 5').source).toBe('not predicted');
    expect(registerOf(answer, 'PCR 0').note).toBe('needs the event log of a boot');
  });

  test('a log of the boot agrees, whatever phase userspace is in', async () => {
    const start = [utf8('Calling EFI Application from Boot Option'), new Uint8Array(4)];
    const images = [uki, kernel].map((image) => concat(...parsePe(image).hashed));
    const log = [...start, ...images].map((data) => ({ register: 4, type: 5, data }));
    writeFileSync(join(folder, 'agrees'), eventLog(log));
    const answer = await measured('uki @uki --secure-boot off --event-log @agrees');
    expect(registerOf(answer, 'PCR 4').note).toBe('as in the event log');
  });

  test('firmware PCRs come from the log of a boot', async () => {
    const answer = await measured('uki @uki --variables @variables --event-log @tpm-log');
    expect(
      answer.registers.filter(({ source }) => source === 'event log').map((r) => r.name),
    ).toEqual(['PCR 1', 'PCR 2', 'PCR 3']);
  });

  test.each<[string, string]>([
    ['', '--variables FILE'],
    ['--secure-boot maybe', '--secure-boot must be one of'],
    ['--variables @variables --secure-boot on', 'it does not start'],
    ['--secure-boot off --phase later', '--phase must be one of'],
    ['--secure-boot off --bank sha1', '--bank must be one of'],
  ])('`%s` is wrong usage', async (options, message) => {
    const found = await run(`measure uki @uki ${options}`.trim());
    expect([found.code, found.terminal.stderr]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe('reference values of cvmp measure in policies', () => {
  const policy = (appraisal: string) => `
policy_id: web
cvm_names: [web]
appraisal: {${appraisal}}
levels: [{n: 1, snp: {}, tdx: {}, tpm: {}}]
svn_floor: 1
`;
  const written = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return `@${name}`;
  };

  test('values of several images in one file are taken as they are', async () => {
    const into = '--reference-values @images.yaml';
    for (const command of [
      `snp --firmware @firmware --image-svn 1 ${into}`,
      `snp --firmware @firmware --vcpus 4 --name four ${into}`,
      `snp --firmware @firmware --vcpus 4 --name four-again ${into}`,
      `tdx @tdvf --uki @uki --event-log @ccel ${into}`,
      `uki @uki --secure-boot off --image-svn 2 ${into}`,
    ]) {
      const { code, terminal } = await run(`measure ${command}`);
      expect(terminal.stderr).toContain('reference value written');
      expect(code).toBe(0);
    }
    const file = written('web.yaml', policy('snp: {}, tdx: {}, tpm: {boot: {}}'));
    const bare = await run(`policy check ${file}`);
    expect(bare.code).toBe(1);
    const { code, json, terminal } = await run(`policy check ${file} ${into} --json`);
    expect(terminal.stderr).toBe('');
    expect(code).toBe(0);
    expect(json()).toMatchObject({
      sound: true,
      policy: {
        appraisal: {
          snp: {
            measurements: [
              { image_svn: 1, name: 'firmware' },
              { image_svn: 0, name: 'four-again' },
            ],
          },
          tdx: { references: [{ mr_td: toHex(predictMrTd(tdvf)), name: 'tdvf' }] },
          tpm: { boot: { bank: 'sha256', references: [{ image_svn: 2, name: 'uki' }] } },
        },
      },
    });
  });

  test('a policy without rules for a format does not come to admit it', async () => {
    await run('measure tdx @tdvf --reference-values @tdx.yaml');
    const file = written('snp.yaml', policy(`snp: {measurements: [{digest: ${'0c'.repeat(48)}}]}`));
    const { code, terminal } = await run(`policy check ${file} --reference-values @tdx.yaml`);
    expect(code).toBe(1);
    expect(terminal.stderr).toContain('appraisal.tdx');
  });

  test('values of another bank, and files of anything else, are refused', async () => {
    const into = '--secure-boot off --reference-values @banks.yaml';
    expect((await run(`measure uki @uki ${into}`)).code).toBe(0);
    const before = readFileSync(join(folder, 'banks.yaml'), 'utf8');
    const other = await run(`measure uki @uki --bank sha384 ${into}`);
    expect([other.code, other.terminal.stderr]).toEqual([1, expect.stringContaining('PCR bank')]);
    expect(readFileSync(join(folder, 'banks.yaml'), 'utf8')).toBe(before);
    const file = written('whole.yaml', policy('snp: {}'));
    const whole = await run(`measure snp --firmware @firmware --reference-values ${file}`);
    expect(whole.code).toBe(1);
    expect(whole.terminal.stderr).toContain('something else than the appraisal');
  });

  test('Azure has references of its own; legacy SEV has none', async () => {
    await run(
      'measure uki @uki --secure-boot off --evidence azure-snp --reference-values @az.yaml',
    );
    expect(readFileSync(join(folder, 'az.yaml'), 'utf8')).toContain('azure_snp:');
    const options = '--firmware @firmware --mode sev --reference-values @az.yaml';
    const { code, terminal } = await run(`measure snp ${options}`);
    expect([code, terminal.stderr]).toEqual([2, expect.stringContaining('no policy admits')]);
  });

  test('an RTMR that is not known is said', async () => {
    const { terminal } = await run('measure tdx @tdvf --reference-values @some.yaml');
    expect(terminal.stderr).toContain('warning: RTMR0, RTMR1, RTMR2: not in the reference value');
  });
});
