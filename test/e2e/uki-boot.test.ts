import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findAuthority } from '#core/boot/authority.js';
import { gptEvent } from '#core/boot/gpt.js';
import { extendAll } from '#core/boot/measured-event.js';
import { secureBootOf } from '#core/boot/secure-boot.js';
import { noParameters, readUki } from '#core/boot/uki.js';
import { predictUkiBoot } from '#core/boot/uki-boot.js';
import { toHex } from '#core/bytes.js';
import { parsePe } from '#core/firmware/pe.js';
import { readVariableStore } from '#core/firmware/variable-store.js';
import { temporaryFolder } from '../run-folder.js';

// A real boot, without hardware: QEMU's emulation, Debian's OVMF with Secure Boot, swtpm, a UKI of the
// machine's own kernel. It takes some ten seconds, more on a busy machine.

const firmware = '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd';
const variables = '/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd';
const testKey = '/usr/share/ovmf/PkKek-1-snakeoil';
const stub = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';
const kernel = existsSync('/boot')
  ? readdirSync('/boot').find((name) => name.startsWith('vmlinuz-'))
  : undefined;
const programs = [
  'qemu-system-x86_64',
  'swtpm',
  'swtpm_setup',
  'sbsign',
  'objcopy',
  'cpio',
  'sgdisk',
  'mkfs.vfat',
  'mcopy',
];
const absent = [
  ...[firmware, variables, stub, '/bin/busybox'].filter((file) => !existsSync(file)),
  ...programs.filter((name) => spawnSync(name, ['--help']).error !== undefined),
  ...(kernel === undefined ? ['a kernel in /boot'] : []),
];

/** Says its PCRs on the serial line, and is done. */
const init = `#!/bin/busybox sh
/bin/busybox mount -t sysfs s /sys
for i in 4 5 7 9 11 12; do
  echo "PCR $i $(/bin/busybox cat /sys/class/tpm/tpm0/pcr-sha256/$i)"
done
echo DONE
/bin/busybox poweroff -f
`;

const run = (program: string, ...args: readonly string[]) =>
  execFileSync(program, args, { stdio: 'pipe' });

/** An initrd of one program. */
function makeInitrd(folder: string): string {
  const root = join(folder, 'root');
  for (const name of ['bin', 'sys', 'dev', 'proc'])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  const names = ['.', 'bin', 'bin/busybox', 'init', 'sys', 'dev', 'proc'].join('\n');
  const archive = join(folder, 'initrd');
  execFileSync('cpio', ['-o', '-H', 'newc', '-O', archive], {
    cwd: root,
    input: names,
    stdio: 'pipe',
  });
  return archive;
}

/** A UKI signed by the key that the variable store trusts. */
function makeUki(folder: string): string {
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const sections: readonly (readonly [string, string, string])[] = [
    ['.osrel', file('osrel', 'ID=test\n'), '0x20000'],
    ['.cmdline', file('cmdline', 'console=ttyS0 quiet'), '0x30000'],
    ['.linux', join('/boot', kernel!), '0x2000000'],
    ['.initrd', makeInitrd(folder), '0x4000000'],
  ];
  const args = sections.flatMap(([name, path, address]) => [
    ...['--add-section', `${name}=${path}`],
    ...['--change-section-vma', `${name}=${address}`],
  ]);
  const plain = join(folder, 'plain.efi');
  run('objcopy', ...args, stub, plain);
  const key = join(folder, 'key.pem');
  run('openssl', 'rsa', '-in', `${testKey}.key`, '-passin', 'pass:snakeoil', '-out', key);
  const signed = join(folder, 'linux.efi');
  run('sbsign', '--key', key, '--cert', `${testKey}.pem`, '--output', signed, plain);
  return signed;
}

/** A disk with one EFI partition that has the image where firmware looks for it. */
function makeDisk(folder: string, uki: string): string {
  const [disk, partition] = [join(folder, 'disk.img'), join(folder, 'esp.img')];
  const size = 96 * 1024 * 1024;
  writeFileSync(partition, new Uint8Array(size - 2 * 1024 * 1024));
  run('mkfs.vfat', partition);
  run('mmd', '-i', partition, '::/EFI', '::/EFI/BOOT');
  run('mcopy', '-i', partition, uki, '::/EFI/BOOT/BOOTX64.EFI');
  const whole = new Uint8Array(size);
  whole.set(readFileSync(partition), 1024 * 1024);
  writeFileSync(disk, whole);
  run('sgdisk', '-n', '1:2048:+94M', '-t', '1:ef00', disk);
  return disk;
}

/** Boots it until it switches itself off. @returns what it said */
async function boot(folder: string, disk: string): Promise<string> {
  const state = join(folder, 'tpm');
  mkdirSync(state);
  run('swtpm_setup', '--tpm2', '--tpmstate', state, '--pcr-banks', 'sha256');
  const socket = join(folder, 's');
  const control = ['--ctrl', `type=unixio,path=${socket}`, '--terminate', '--daemon'];
  run('swtpm', 'socket', '--tpm2', '--tpmstate', `dir=${state}`, ...control);
  const own = join(folder, 'variables');
  copyFileSync(variables, own);
  const serial = join(folder, 'serial');
  const args = [
    '-machine q35,smm=on -m 512 -nographic -nodefaults -no-reboot',
    '-global driver=cfi.pflash01,property=secure,value=on',
    `-drive if=pflash,unit=0,format=raw,readonly=on,file=${firmware}`,
    `-drive if=pflash,unit=1,format=raw,file=${own} -serial file:${serial}`,
    `-chardev socket,id=c,path=${socket} -tpmdev emulator,id=t,chardev=c`,
    '-device tpm-crb,tpmdev=t -device virtio-blk-pci,drive=d,bootindex=1',
    `-drive if=none,id=d,format=raw,file=${disk}`,
  ];
  const qemu = spawn('qemu-system-x86_64', args.join(' ').split(' '), {
    stdio: 'ignore',
    timeout: 280_000,
  });
  await new Promise((resolve) => qemu.once('exit', resolve));
  return readFileSync(serial, 'latin1');
}

describe.skipIf(absent.length > 0)(
  `a real boot of a UKI with Secure Boot (skipped without: ${absent.join(', ') || 'nothing'})`,
  () => {
    test('every predicted PCR is what the TPM holds', { timeout: 300_000 }, async () => {
      const folder = temporaryFolder('uki-boot');
      const signed = makeUki(folder);
      const disk = makeDisk(folder, signed);
      const bytes = (file: string) => new Uint8Array(readFileSync(file));
      const image = parsePe(bytes(signed));
      const secureBoot = secureBootOf(readVariableStore(bytes(variables)));
      const { events, notPredicted } = predictUkiBoot({
        loaders: [],
        uki: readUki(image),
        secureBoot,
        authorities: [(await findAuthority(image, secureBoot.db))!],
        partitionTable: gptEvent(bytes(disk).subarray(0, 34 * 512)),
        innerKernel: undefined,
        parameters: noParameters,
        stubVersion: undefined,
        phase: 'none',
      });
      const said = await boot(folder, disk);
      expect(said).toContain('DONE');
      const pcrs = [...said.matchAll(/PCR (\d+) ([0-9A-F]{64})/g)];
      const skipped = notPredicted.map(({ pcr }) => pcr);
      const found = pcrs.map(([, pcr, value]) => [Number(pcr), value!.toLowerCase()] as const);
      expect(found.map(([pcr]) => pcr)).toEqual([4, 5, 7, 9, 11, 12]);
      for (const [pcr, value] of found.filter(([number]) => !skipped.includes(number))) {
        const own = events.filter((event) => event.pcr === pcr);
        expect(`PCR ${pcr} ${toHex(extendAll(own, 'sha256'))}`).toBe(`PCR ${pcr} ${value}`);
      }
    });
  },
);
