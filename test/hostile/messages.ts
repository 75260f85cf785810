import { create, toBinary } from '@bufbuild/protobuf';
import { azureCollection } from '#core/azure/evidence.js';
import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { ccaCollection } from '#core/cca/evidence.js';
import { parseComid, parseCorim } from '#core/corim/corim.js';
import { parseSignedCorim } from '#core/corim/signed.js';
import { parseSign1 } from '#core/cose/sign1.js';
import { passportCollection, signProof } from '#core/ear/passport.js';
import { parseEar, signCwt, signJwt } from '#core/ear/token.js';
import { decodeKeyRecord, encodeKeyRecord } from '#core/keying/key-record.js';
import { type CmwCollection, decodeCmw, encodeCmw } from '#core/rats/cmw.js';
import { decodeConfigDocument, encodeConfigDocument } from '#core/rats/config-document.js';
import { schemes } from '#core/schemes.js';
import type { Codec } from '#core/session/messages.js';
import { encodeCertTable } from '#core/snp/endorsement/cert-table.js';
import { snpCollection } from '#core/snp/evidence.js';
import { svsmCollection } from '#core/svsm/evidence.js';
import { encodeServicesManifest, vtpmServiceGuid } from '#core/svsm/manifest.js';
import { tdxCollection } from '#core/tdx/evidence.js';
import { tpmCollection } from '#core/tpm/evidence.js';
import { crypto } from '#crypto';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { encodeReport } from '#sim/report.js';
import { policyOf } from '#wire/policy.js';
import { sessionCodec } from '#wire/session.js';
import { policyType, signTyped } from '#wire/signed-policy.js';
import { readMessage } from '#wire/validate.js';
import { ear } from '../core/ear/made.js';
import { madeRecord } from '../core/keying/made.js';
import { configDocumentFor, ends, handshake } from '../core/session/ends.js';
import { hclReport, runtimeData } from '../fakes/azure.js';
import { FakeCca } from '../fakes/cca.js';
import {
  comid,
  corim,
  digest,
  environment,
  hashed,
  measured,
  oid,
  signedCorim,
  tagged,
} from '../fakes/corim.js';
import { eventLog, soundBoot } from '../fakes/event-log.js';
import { FakeIntel } from '../fakes/intel.js';
import { FakeTpm } from '../fakes/tpm.js';
import type { HostileParser } from './parser.js';

async function passport(): Promise<CmwCollection> {
  const proof = await signProof(await key(), new Uint8Array(64));
  return passportCollection(await signCwt(await key(), ear()), proof);
}

const dashed = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
const key = () => crypto.generateEcKey('P-256');

const referenceValues = () => {
  const triple = [
    environment({ classId: oid('1.3.6.1.4.1.3704.3.1'), vendor: 'AMD', model: 'Genoa' }),
    [
      measured(
        [
          [2, [hashed(digest(1))]],
          [1, 3],
        ],
        641,
      ),
    ],
  ];
  return comid([[0, [triple]]]);
};

/** What peers send each other, and what verifiers and suppliers sign. */
export const messages: readonly HostileParser[] = [
  {
    name: 'cmw',
    parse: (bytes) => decodeCmw(bytes),
    seeds: () => [encodeCmw(snpCollection(encodeReport({ VERSION: 5 }), new Uint8Array()))],
  },
  {
    name: 'evidence',
    parse: (bytes) => {
      const decoded = decodeCmw(bytes);
      return schemes.filter((scheme) => scheme.admits(decoded)).map((s) => s.parse(decoded));
    },
    seeds: async () => (await collections()).map(encodeCmw),
  },
  {
    name: 'config-document',
    parse: decodeConfigDocument,
    seeds: async () => [
      configDocumentFor(await key()),
      encodeConfigDocument({
        tenantId: 'acme',
        keyServers: [new Uint8Array(32)],
        policyAnchor: new Uint8Array(32),
        cvmName: 'web',
      }),
    ],
  },
  {
    name: 'signed-policy',
    parse: (bytes) => {
      const { payload } = parseSign1(bytes, { typ: policyType });
      return policyOf(readMessage(SetKeyPolicySchema, payload ?? new Uint8Array(), 'policy'));
    },
    seeds: async () => [await signTyped(await key(), policyType, policyBytes())],
  },
  ...(['clientInit', 'evidence', 'activation'] as const).map(agentMessage),
  ...(['challenge', 'accept', 'credential'] as const).map(serverMessage),
  { name: 'key-record', parse: decodeKeyRecord, seeds: () => [encodeKeyRecord(madeRecord())] },
  {
    name: 'corim',
    parse: (bytes) => parseCorim(bytes),
    seeds: () => [corim([tagged(referenceValues())])],
  },
  {
    name: 'comid',
    parse: (bytes) => parseComid(bytes),
    seeds: () => [encode(referenceValues())],
  },
  {
    name: 'signed-corim',
    parse: parseSignedCorim,
    seeds: async () => [await signedCorim(await key(), corim([tagged(referenceValues())]))],
  },
  {
    name: 'ear',
    parse: parseEar,
    seeds: async () => [await signCwt(await key(), ear()), await signJwt(await key(), ear())],
  },
];

function policyBytes(): Uint8Array {
  const message = create(SetKeyPolicySchema, {
    tenantId: 'acme',
    policyId: 'web',
    version: 1n,
    cvmNames: ['web-*'],
    appraisal: { snp: { measurements: [{ digest: digest(1), imageSvn: 2, name: 'web' }] } },
    levels: [{ n: 1, snp: { guestSvnMin: 1 }, name: 'base' }],
    svnFloor: 1,
  });
  return toBinary(SetKeyPolicySchema, message);
}

/** Small collections that have every record of evidence among them. */
async function collections(): Promise<CmwCollection[]> {
  const snp = snpCollection(
    encodeReport({ VERSION: 5, SIGNATURE_ALGO: 1 }),
    encodeCertTable([{ kind: 'VCEK', data: utf8('vcek') }]),
  );
  const tpm = new FakeTpm('rsa');
  const pcrs = new Map([0, 4, 7].map((pcr) => [pcr, new Uint8Array(32).fill(pcr)]));
  const attest = tpm.attest(pcrs);
  const quote = tpmCollection({
    attest,
    signature: tpm.sign(attest),
    pcrs,
    akPublic: tpm.akPublic(),
    configExtensions: [new Uint8Array(32)],
    eventLog: eventLog(soundBoot().slice(0, 4), ['sha256']),
  });
  const manifest = encodeServicesManifest([{ guid: vtpmServiceGuid, manifest: tpm.akPublic() }]);
  const hcl = hclReport({ hardware: new Uint8Array(), runtimeData: runtimeData(tpm) });
  return [
    azureCollection(snp, hcl, quote),
    svsmCollection(snp, { nonce: new Uint8Array(64), manifest }),
    await passport(),
    ccaCollection(await (await FakeCca.create()).token()),
    tdxCollection(await (await FakeIntel.create()).quote({ chain: [] })),
  ];
}

/** What the Key Server reads of an agent that nobody vouches for yet. */
function agentMessage(name: 'clientInit' | 'evidence' | 'activation'): HostileParser {
  const codec: Codec<unknown> = sessionCodec[name] as Codec<unknown>;
  return {
    name: `session-${dashed(name)}`,
    parse: (bytes) => codec.decode(bytes),
    seeds: async () => {
      if (name === 'activation') return [codec.encode({ proof: new Uint8Array(32) })];
      const { frames } = await handshake(await ends());
      return [frames[name === 'clientInit' ? 0 : 2]!];
    },
  };
}

/** What an agent reads of whoever answers in the place of its Key Server. */
function serverMessage(name: 'challenge' | 'accept' | 'credential'): HostileParser {
  const codec: Codec<unknown> = sessionCodec[name] as Codec<unknown>;
  const payload = (bytes: Uint8Array) => parseSign1(bytes).payload ?? new Uint8Array();
  return {
    name: `session-${name}`,
    parse: (bytes) => codec.decode(bytes),
    seeds: async () => {
      if (name === 'credential') {
        const bytes = new Uint8Array(64).fill(1);
        return [
          codec.encode({
            sessionId: bytes.slice(0, 16),
            credentialBlob: bytes,
            encryptedSecret: bytes,
          }),
        ];
      }
      const { frames } = await handshake(await ends());
      return [payload(frames[name === 'challenge' ? 1 : 3]!)];
    },
  };
}
