import { create } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import { encode } from '#core/cbor/encode.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { tenantVerifyReportData } from '#core/rats/tenant-verify.js';
import { snpCollection } from '#core/snp/evidence.js';
import { launchMeasurement } from '#core/snp/launch/measure.js';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import {
  type CVMActivateRequest,
  type CVMCreateRequest,
  type Cvm,
  CvmSchema,
  CvmService,
  CvmState,
  ImageInfoSchema,
  type LaunchInputs,
  LaunchInputsSchema,
} from '#gen/cvmp/v1/platform_pb.js';
import { simulatedFirmware } from '#sim/firmware.js';
import type { SimulatedGuest } from '#sim/guest.js';
import { SecurityProcessor } from '#sim/security-processor.js';
import { launchInputs } from '#wire/launch.js';
import { simulatedAuthority } from '../fakes/simulated-hardware.js';

/** When the tests of the command take place, milliseconds since 1970. */
export const fakeNow = 1_800_000_000_000;

/** The simulated vendor of this test run. */
export const authority = await simulatedAuthority('Genoa');

/** What a platform may do wrong. */
export interface Lies {
  /** Launches with this in place of what was asked. */
  readonly launches?: Partial<Pick<LaunchInputs, 'cmdline' | 'vcpus' | 'guestFeatures'>>;
  /** Answers this in place of what it launched. */
  readonly says?: (cvm: Cvm) => void;
  /** Other firmware than the image's. */
  readonly firmware?: Uint8Array;
  /** Config document that it binds in place of the tenant's. */
  readonly document?: Uint8Array;
  /** Evidence over this nonce. */
  readonly nonce?: Uint8Array;
  /** What it changes in the report. */
  readonly tamper?: (report: Uint8Array) => void;
}

const firmware = simulatedFirmware({ build: 1 });
const sha256 = (text: string) => crypto.hash('sha256', Buffer.from(text));

/** An image of the sample firmware with a kernel of this name. */
export function sampleImage(name: string) {
  const parts = {
    firmwareDigest: crypto.hash('sha256', firmware),
    kernelDigest: sha256(`kernel ${name}`),
    initrdDigest: sha256(`initrd ${name}`),
    cmdline: `console=ttyS0 ${name}`,
  };
  const { firmwareDigest, kernelDigest, initrdDigest, cmdline } = parts;
  const digest = crypto.hash(
    'sha256',
    encode([firmwareDigest, kernelDigest, initrdDigest, cmdline]),
  );
  return create(ImageInfoSchema, { name, digest, ...parts });
}

/** A CVM Platform in memory on a simulated processor; it holds one CVM. */
export class FakePlatform {
  readonly #processor = SecurityProcessor.create(authority, () => fakeNow);
  readonly images = [sampleImage('sample-v1'), sampleImage('sample-v2')];
  readonly requests: CVMCreateRequest[] = [];
  /** Ids of the CVMs that were started. */
  readonly started: string[] = [];
  lies: Lies = {};
  #guest: SimulatedGuest | undefined;
  #document: Uint8Array = new Uint8Array();
  cvm: Cvm | undefined;

  readonly routes = ({ service }: ConnectRouter): void => {
    service(CvmService, {
      cVMFeature: () => ({
        featureSetId: new Uint8Array(32).fill(9),
        teeFeatures: [
          { tee: TeeType.SEV_SNP, simulated: true, vmmType: 'QEMU', vcpuTypes: ['EPYC-v4'] },
        ],
        images: this.images,
      }),
      cVMImage: ({ digest }) => ({
        image: this.images.find((image) => Buffer.from(digest).equals(image.digest))!,
        firmware: this.lies.firmware ?? firmware,
      }),
      cVMCreate: async (request) => {
        this.requests.push(request);
        return { cvms: [await this.#launch(request)] };
      },
      cVMUpdate: async ({ imageDigest, snp, svn }) => {
        const { configDocument = new Uint8Array(), ...before } = this.requests.at(-1)!;
        const features = { ...before.features!, svn };
        const launch = { ...before, configDocument, imageDigest, features, ...(snp && { snp }) };
        return { cvm: await this.#launch(launch as CVMCreateRequest) };
      },
      cVMStart: ({ cvm }) => {
        this.started.push(cvm);
        return { cvm: this.cvm! };
      },
      cVMGet: () => ({ cvm: this.cvm! }),
      cVMVerify: async ({ nonce }) => ({ evidence: await this.evidence(nonce) }),
      cVMActivate: async (request) => ({ proof: await this.activate(request) }),
    });
  };

  async #launch(request: CVMCreateRequest): Promise<Cvm> {
    const { kernelDigest, initrdDigest, cmdline, digest } = this.images.find((image) =>
      Buffer.from(request.imageDigest).equals(image.digest),
    )!;
    const own = request.features?.auxilaryFirmware ?? new Uint8Array();
    const used = own.length > 0 ? own : firmware;
    const inputs = create(LaunchInputsSchema, {
      imageDigest: digest,
      firmwareDigest: crypto.hash('sha256', used),
      kernelDigest,
      initrdDigest,
      cmdline,
      vcpus: request.shape!.vcpus,
      vcpuType: request.shape!.vcpuType,
      guestFeatures: 1n,
      vmmType: 'QEMU',
      guestPolicy: request.snp!.guestPolicy,
      ...this.lies.launches,
    });
    this.#document = this.lies.document ?? request.configDocument;
    const { idBlock, idAuth, guestPolicy } = request.snp!;
    this.#guest = await this.#processor.launch({
      inputs: launchInputs(inputs, used),
      guestPolicy,
      hostData: crypto.hash('sha256', this.#document),
      ...(idBlock.length > 0 ? { idBlock, idAuth } : {}),
    });
    this.cvm = create(CvmSchema, {
      cvmId: 'c-1',
      name: request.name,
      state: CvmState.RUNNING,
      tee: TeeType.SEV_SNP,
      launchInputs: inputs,
      predictedMeasurement: launchMeasurement(launchInputs(inputs, used)),
      configDocumentDigest: crypto.hash('sha256', this.#document),
      bootCount: 1,
    });
    this.lies.says?.(this.cvm);
    return this.cvm;
  }

  /** What the Key Agent of the CVM answers to a credential. */
  activate: (request: CVMActivateRequest) => Promise<Uint8Array> = async () => {
    throw new Error('the CVM has no TPM');
  };

  /** What the Key Agent of the CVM answers to a nonce. */
  async evidence(nonce: Uint8Array) {
    const reportData = tenantVerifyReportData(this.lies.nonce ?? nonce, this.#document);
    const { report, certTable } = await this.#guest!.report({ reportData, vmpl: 0 });
    this.lies.tamper?.(report);
    const cmwCollection = encodeCmw(snpCollection(report, certTable));
    return { configDocument: this.#document, cmwCollection };
  }
}
