import { fromHex, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import type { BootInputs } from '#core/snp/launch/kernel-hashes.js';
import { launchMeasurement, svsmLaunchMeasurement } from '#core/snp/launch/measure.js';
import { sevEsLaunchDigest, sevLaunchDigest } from '#core/snp/launch/sev.js';
import { vcpuTypes } from '#core/snp/launch/vcpu-types.js';
import type { VmmType } from '#core/snp/launch/vmsa.js';
import { crypto } from '#crypto';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type Json,
  type JsonObject,
} from '../judge.js';

/** Kind `sev-launch-digests`: the measurement that a guest has from what it is launched with. */
export async function judgeLaunchDigests(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  return asList(folder.expected.cases, 'cases').map((item) => {
    const wanted = asObject(item, 'case');
    const name = asString(wanted.test, 'test');
    const args = asObject(wanted.args, 'args');
    const expected = wanted.error === undefined ? String(wanted.launch_digest) : 'an error';
    const measure = modes[asString(args.mode, 'mode').replace(/^SevMode\./, '')];
    if (measure === undefined) {
      const left = `no such mode as ${args.mode}`;
      return { name: `${name}: ${left}`, expected, actual: left, asExpected: undefined };
    }
    const actual = digestOrError(() => measure(inputs(folder, args)));
    return { name, expected, actual, asExpected: actual === expected };
  });
}

/** Everything that any mode looks at. */
interface Inputs {
  readonly firmware: Uint8Array;
  readonly boot: BootInputs | undefined;
  readonly vcpus: number;
  readonly cpuSignature: number;
  readonly guestFeatures: bigint;
  readonly vmmType: VmmType;
  readonly firmwarePagesDigest?: Uint8Array;
  readonly svsm: Uint8Array;
  readonly variableStoreLength: number;
}

/** The modes of the source's tool. */
const modes: Readonly<Record<string, (inputs: Inputs) => Uint8Array>> = {
  SEV: sevLaunchDigest,
  SEV_ES: sevEsLaunchDigest,
  SEV_SNP: launchMeasurement,
  SEV_SNP_SVSM: svsmLaunchMeasurement,
};

const vmmTypes: Readonly<Record<string, VmmType>> = { qemu: 'QEMU', ec2: 'EC2', gce: 'GCE' };

/** What the source's tool prints or takes where nothing is given. */
const isNone = (value: Json | undefined) =>
  value === undefined || value === null || value === '' || value === 'None';

function inputs(folder: CaseFolder, args: JsonObject): Inputs {
  const vmm = isNone(args.vmm_type) ? 'qemu' : asString(args.vmm_type, 'vmm_type');
  const vmmType = vmmTypes[vmm.replace(/^VMMType\./, '').toLowerCase()];
  if (vmmType === undefined) throw new Error(`unknown VMM ${vmm}`);
  const read = (name: string) =>
    isNone(args[name]) || args[name] === '(empty file)'
      ? new Uint8Array()
      : folder.read(asString(args[name], name));
  const digestOf = (name: string) => crypto.hash('sha256', read(name));
  const pages = args.snp_ovmf_hash_str;
  return {
    firmware: read('ovmf_file'),
    boot: isNone(args.kernel)
      ? undefined
      : {
          kernelDigest: digestOf('kernel'),
          initrdDigest: digestOf('initrd'),
          cmdline: isNone(args.append) ? '' : asString(args.append, 'append'),
        },
    vcpus: isNone(args.vcpus) ? 1 : Number(args.vcpus),
    cpuSignature: cpuSignatureOf(args.vcpu_sig),
    guestFeatures: BigInt(isNone(args.guest_features) ? 1 : Number(args.guest_features)),
    vmmType,
    ...(isNone(pages) ? {} : { firmwarePagesDigest: fromHex(asString(pages, 'ovmf hash')) }),
    svsm: read('svsm_file'),
    variableStoreLength: isNone(args.ovmf_vars_size) ? 0 : Number(args.ovmf_vars_size),
  };
}

/** A number, or the name of a vCPU type; 0 where none is given. */
function cpuSignatureOf(value: Json | undefined): number {
  if (isNone(value)) return 0;
  return vcpuTypes[String(value)] ?? Number(value);
}

function digestOrError(measure: () => Uint8Array): string {
  try {
    return toHex(measure());
  } catch (error) {
    if (error instanceof CvmpError) return 'an error';
    throw error;
  }
}
