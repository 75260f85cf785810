import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { crypto } from '#crypto';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import {
  type CVMCreateRequest,
  type CVMUpdateRequest,
  type CvmSchema,
  CvmState as CvmStateMessage,
  type ImageInfoSchema,
  type SnpLaunch,
  type TeeFeaturesSchema,
} from '#gen/cvmp/v1/platform_pb.js';
import type { Tee } from './driver/driver.js';
import type { TeeOffer, WantedLaunch, WantedSnp } from './features.js';
import type { Image } from './images.js';
import type { CvmState } from './lifecycle/table.js';
import type { WantedUpdate } from './planning.js';
import type { CvmView } from './watch.js';

// The only translation between the messages of platform.proto and the platform's own values.

const teeTypes: Readonly<Record<Tee, TeeType>> = {
  'sev-snp': TeeType.SEV_SNP,
  tdx: TeeType.TDX,
  vtpm: TeeType.VTPM,
};

const states: Readonly<Record<CvmState, CvmStateMessage>> = {
  defined: CvmStateMessage.DEFINED,
  starting: CvmStateMessage.STARTING,
  running: CvmStateMessage.RUNNING,
  stopping: CvmStateMessage.STOPPING,
  stopped: CvmStateMessage.STOPPED,
  failed: CvmStateMessage.FAILED,
  deleting: CvmStateMessage.DELETING,
};

const none = new Uint8Array();

/** undefined for what is no kind of TEE. */
export function readTee(type: TeeType): Tee | undefined {
  return (Object.keys(teeTypes) as Tee[]).find((tee) => teeTypes[tee] === type);
}

/** The request was held to the rules of its .proto before. @throws TypeError otherwise */
export function readCreate(request: CVMCreateRequest): WantedLaunch {
  const { shape, features, imageDigest, configDocument, keyServerAddress, keyId, diskMib } =
    request;
  const tee = readTee(request.tee);
  if (tee === undefined) throw new TypeError(`tee ${request.tee}`);
  return {
    tee,
    vcpus: shape?.vcpus ?? 0,
    memoryMib: shape?.memoryMib ?? 0,
    vcpuType: shape?.vcpuType ?? '',
    imageDigest,
    secureBoot: features?.secureBoot ?? false,
    liveMigration: features?.liveMigration ?? false,
    auxilaryFirmware: features?.auxilaryFirmware ?? none,
    bios: new Map(Object.entries(features?.bios ?? {})),
    svn: features?.svn ?? 0,
    snp: readSnp(request.snp),
    configDocument,
    keyServerAddress,
    keyId,
    diskMib,
  };
}

export function readUpdate(request: CVMUpdateRequest): WantedUpdate {
  const { imageDigest, svn } = request;
  return { imageDigest, svn, snp: readSnp(request.snp) };
}

function readSnp(snp: SnpLaunch | undefined): WantedSnp | undefined {
  if (snp === undefined) return undefined;
  const { guestPolicy, idBlock, idAuth } = snp;
  return { guestPolicy, idBlock, idAuth };
}

export function cvmMessage({ cvm, agent, gone }: CvmView): MessageInitShape<typeof CvmSchema> {
  const { spec, plan } = cvm.launch;
  const { measurement, ...launchInputs } = plan;
  return {
    cvmId: cvm.cvmId,
    name: cvm.name,
    tenantId: cvm.tenantId,
    state: gone ? CvmStateMessage.DELETED : states[cvm.state],
    message: cvm.message,
    tee: teeTypes[spec.tee],
    launchInputs,
    predictedMeasurement: measurement,
    // Firmware of the tenant is named by its digest in the launch inputs, not sent back.
    features: {
      secureBoot: spec.secureBoot,
      liveMigration: spec.liveMigration,
      bios: Object.fromEntries(spec.bios),
      svn: spec.svn,
    },
    configDocumentDigest: crypto.hash('sha256', spec.configDocument),
    created: timestampFromMs(cvm.createdMs),
    ...(agent && { agent }),
    shape: { vcpus: spec.vcpus, memoryMib: spec.memoryMib, vcpuType: spec.vcpuType },
    bootCount: cvm.bootCount,
  };
}

/** @param cvmsFree CVMs that there is room for now */
export function teeFeaturesMessage(
  offer: TeeOffer,
  cvmsFree: number,
): MessageInitShape<typeof TeeFeaturesSchema> {
  const { simulated, product, snpTcb, secureBoot, liveMigration, svnMax } = offer;
  const { configDigestBytes, vcpusMax, memoryMibMax, cvmsMax, vmmType, vcpuTypes } = offer;
  return {
    tee: teeTypes[offer.tee],
    simulated,
    product,
    ...(snpTcb && { snpTcb }),
    secureBoot,
    liveMigration,
    auxilaryFirmware: {
      supported: offer.firmwareBytesMax > 0,
      formats: [...offer.firmwareFormats],
      bytesMax: offer.firmwareBytesMax,
    },
    bios: { supported: offer.biosSettings.length > 0, settings: [...offer.biosSettings] },
    svn: { idBlock: offer.idBlock, svnMax },
    configDigestBytes,
    vcpusMax,
    memoryMibMax,
    cvmsMax,
    cvmsFree,
    vmmType,
    vcpuTypes: [...vcpuTypes],
  };
}

export function imageMessage(image: Image): MessageInitShape<typeof ImageInfoSchema> {
  return {
    digest: image.imageDigest,
    name: image.name,
    firmwareDigest: image.firmware.digest,
    kernelDigest: image.kernel.digest,
    initrdDigest: image.initrd.digest,
    cmdline: image.cmdline,
  };
}
