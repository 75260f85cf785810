import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import type { VmmType } from '#core/snp/launch/vmsa.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../judge.js';

/** Kind `sev-launch-digests`: the measurement that a guest has from what it is launched with. */
export async function judgeLaunchDigests(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  return asList(folder.expected.cases, 'cases').map((item) => {
    const wanted = asObject(item, 'case');
    const name = asString(wanted.test, 'test');
    const args = asObject(wanted.args, 'args');
    const expected = wanted.error === undefined ? String(wanted.launch_digest) : 'an error';
    const left = outOfScope(args);
    if (left !== undefined) {
      return { name: `${name}: ${left}`, expected, actual: left, asExpected: undefined };
    }
    const actual = measure(folder, args);
    return { name, expected, actual, asExpected: actual === expected };
  });
}

function outOfScope(args: JsonObject): string | undefined {
  if (args.mode !== 'SevMode.SEV_SNP') return 'CVMP measures SEV-SNP guests only';
  if (args.svsm_file) return 'CVMP does not measure an SVSM';
  return undefined;
}

const vmmTypes: Readonly<Record<string, VmmType>> = {
  'VMMType.QEMU': 'QEMU',
  'VMMType.ec2': 'EC2',
  'VMMType.gce': 'GCE',
};

function measure(folder: CaseFolder, args: JsonObject): string {
  const text = (name: string) => asString(args[name], name);
  const vmmType = vmmTypes[text('vmm_type')];
  if (vmmType === undefined) throw new Error(`unknown VMM ${text('vmm_type')}`);
  const digestOf = (file: string) =>
    crypto.hash('sha256', /^\(empty file\)$|^$/.test(file) ? new Uint8Array() : folder.read(file));
  const pages = text('snp_ovmf_hash_str');
  // "None" is what the source's tool prints for no command line and for no signature.
  const none = (value: string) => (value === 'None' ? '' : value);
  try {
    return toHex(
      launchMeasurement({
        firmware: folder.read(text('ovmf_file')),
        boot:
          text('kernel') === ''
            ? undefined
            : {
                kernelDigest: digestOf(text('kernel')),
                initrdDigest: digestOf(text('initrd')),
                cmdline: none(text('append')),
              },
        vcpus: Number(args.vcpus),
        cpuSignature: Number(args.vcpu_sig) || 0,
        guestFeatures: BigInt(Number(args.guest_features)),
        vmmType,
        ...(pages === '' ? {} : { firmwarePagesDigest: fromHex(pages) }),
      }),
    );
  } catch (error) {
    if (error instanceof CvmpError) return 'an error';
    throw error;
  }
}
