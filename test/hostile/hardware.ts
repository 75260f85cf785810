import { signatureCertificates } from '#core/boot/authority.js';
import { gptEvent } from '#core/boot/gpt.js';
import { qemuPatchedKernel } from '#core/boot/linux.js';
import { readUki } from '#core/boot/uki.js';
import { concat, utf8 } from '#core/bytes.js';
import { decodePlatformKey } from '#core/cca/endorsement.js';
import { parseCcaToken } from '#core/cca/token.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { replay } from '#core/eventlog/replay.js';
import { readSecureBoot } from '#core/eventlog/secure-boot.js';
import { parsePe } from '#core/firmware/pe.js';
import { readVariableStore } from '#core/firmware/variable-store.js';
import { encodeCertTable, parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { parseFirmware } from '#core/snp/launch/firmware.js';
import { encodeIdBlock, parseIdBlock } from '#core/snp/launch/id-block.js';
import { parseReport } from '#core/snp/parse.js';
import {
  encodeServicesManifest,
  parseServicesManifest,
  vtpmServiceGuid,
} from '#core/svsm/manifest.js';
import { parseVtpmManifest } from '#core/svsm/vtpm.js';
import { pckChainOf } from '#core/tdx/endorsement/pck-chain.js';
import { readQeIdentity } from '#core/tdx/endorsement/qe-identity.js';
import { parseSignedJson } from '#core/tdx/endorsement/signed-json.js';
import { readTcbInfo } from '#core/tdx/endorsement/tcb-info.js';
import { parseTdvf } from '#core/tdx/launch/tdvf.js';
import { parseTdxQuote } from '#core/tdx/parse.js';
import { parseHclReport } from '#core/tpm/ak/hcl.js';
import { parseQuote } from '#core/tpm/attest.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import { parseTpmSignature } from '#core/tpm/signature.js';
import { simulatedFirmware, simulatedSvsm } from '#sim/firmware.js';
import { encodeReport } from '#sim/report.js';
import { simulatedTdvf } from '#sim/tdvf.js';
import { hclReport, runtimeData } from '../fakes/azure.js';
import { linuxKernel, partitionedDisk, signatureTable } from '../fakes/boot.js';
import { FakeCca } from '../fakes/cca.js';
import { eventLog, soundBoot } from '../fakes/event-log.js';
import { FakeIntel, qeIdentity, tcbInfo } from '../fakes/intel.js';
import { fakePe } from '../fakes/pe.js';
import { FakeTpm, tpm2b, u16, u32 } from '../fakes/tpm.js';
import { fakeVariableStore } from '../fakes/variable-store.js';
import type { HostileParser } from './parser.js';

const pcrs = new Map([0, 4, 7].map((pcr) => [pcr, new Uint8Array(32).fill(pcr)]));
const tpms = () => [new FakeTpm('P-256'), new FakeTpm('rsa')];
const variable = {
  vendor: '8be4df61-93ca-11d2-aa0d-00e098032b8c',
  name: 'SecureBoot',
  data: Uint8Array.of(1),
};

/** What processors and their firmware make. */
export const hardware: readonly HostileParser[] = [
  {
    name: 'snp-report',
    parse: parseReport,
    seeds: () =>
      [2, 3, 5].map((version) =>
        encodeReport({ VERSION: version, SIGNATURE_ALGO: 1, CPUID_FAM_ID: 0x19 }),
      ),
  },
  {
    name: 'snp-cert-table',
    parse: parseCertTable,
    seeds: () => [
      encodeCertTable([
        { kind: 'VCEK', data: utf8('vcek') },
        { kind: 'ASK', data: utf8('ask') },
      ]),
    ],
  },
  {
    name: 'snp-id-block',
    parse: parseIdBlock,
    seeds: () => [
      encodeIdBlock({
        measurement: new Uint8Array(48),
        familyId: new Uint8Array(16),
        imageId: new Uint8Array(16),
        guestSvn: 1,
        guestPolicy: 0x30000n,
      }),
    ],
  },
  {
    name: 'snp-firmware',
    parse: (bytes) => parseFirmware(bytes),
    seeds: () => [simulatedFirmware({ pages: 2 }), simulatedSvsm({ pages: 2 })],
  },
  { name: 'tdvf', parse: parseTdvf, seeds: () => [simulatedTdvf({ pages: 1 })] },
  {
    name: 'pe',
    parse: (bytes) => readUki(parsePe(bytes)),
    seeds: () => [
      fakePe([
        { name: '.linux', data: utf8('kernel') },
        { name: '.cmdline', data: utf8('quiet') },
      ]),
      fakePe([{ name: '.linux', data: utf8('kernel') }], new Uint8Array(16)),
    ],
  },
  {
    name: 'pe-signatures',
    parse: (bytes) => signatureCertificates({ sections: [], certificates: bytes, hashed: [] }),
    seeds: () => [signatureTable(Uint8Array.of(0x30, 0))],
  },
  { name: 'partition-table', parse: (bytes) => gptEvent(bytes), seeds: () => [partitionedDisk()] },
  {
    name: 'linux-setup-header',
    parse: (bytes) => qemuPatchedKernel(bytes, 0x1000, 2 ** 31),
    seeds: () => [linuxKernel()],
  },
  {
    name: 'variable-store',
    parse: readVariableStore,
    seeds: () => [fakeVariableStore([variable, { ...variable, name: 'PK' }], 0x200)],
  },
  { name: 'svsm-manifest', parse: parseServicesManifest, seeds: () => [servicesManifest()] },
  {
    name: 'vtpm-manifest',
    parse: parseVtpmManifest,
    seeds: () => [
      ...tpms().map((tpm) => tpm.akPublic()),
      concat(u32(1), u32(2), ...tpms().map((tpm) => tpm2b(tpm.akPublic()))),
    ],
  },
  {
    name: 'tdx-quote',
    parse: (bytes) => pckChainOf(parseTdxQuote(bytes)),
    seeds: async () => {
      const intel = await FakeIntel.create();
      return [await intel.quote(), await intel.quote({ version: 5 })];
    },
  },
  {
    name: 'tdx-tcb-info',
    parse: (bytes) => readTcbInfo(parseSignedJson(bytes, 'tcbInfo').value),
    seeds: async () => [await (await FakeIntel.create()).signed('tcbInfo', tcbInfo())],
  },
  {
    name: 'tdx-qe-identity',
    parse: (bytes) => readQeIdentity(parseSignedJson(bytes, 'enclaveIdentity').value),
    seeds: async () => [await (await FakeIntel.create()).signed('enclaveIdentity', qeIdentity())],
  },
  { name: 'tpm-quote', parse: parseQuote, seeds: () => tpms().map((tpm) => tpm.attest(pcrs)) },
  {
    name: 'tpm-signature',
    parse: parseTpmSignature,
    seeds: () => tpms().map((tpm) => tpm.sign(tpm.attest(pcrs))),
  },
  {
    name: 'tpm-public-area',
    parse: parsePublicArea,
    seeds: () => tpms().map((tpm) => tpm.akPublic()),
  },
  {
    name: 'hcl-report',
    parse: parseHclReport,
    seeds: () => [hclReport({ hardware: new Uint8Array(), runtimeData: smallRuntimeData() })],
  },
  {
    name: 'event-log',
    parse: (bytes) => {
      const log = parseEventLog(bytes);
      replay(log, 'sha256');
      return readSecureBoot(log, 'sha256');
    },
    seeds: () => [eventLog(soundBoot()), eventLog(soundBoot(), ['sha256'])],
  },
  {
    name: 'cca-token',
    parse: parseCcaToken,
    seeds: async () => {
      const cca = await FakeCca.create();
      return [await cca.token(), await cca.token({ unwrapped: true, barePoint: true })];
    },
  },
  {
    name: 'cca-platform-key',
    parse: decodePlatformKey,
    seeds: async () =>
      ((await FakeCca.create()).endorsements().documents ?? []).map(({ value }) => value),
  },
];

function servicesManifest(): Uint8Array {
  return encodeServicesManifest([
    { guid: vtpmServiceGuid, manifest: concat(u16(0), u16(1)) },
    { guid: '0123abcd-4567-89ef-0123-456789abcdef', manifest: new Uint8Array() },
  ]);
}

const smallRuntimeData = () => runtimeData(new FakeTpm('rsa'));
