import { toHex } from '#core/bytes.js';
import { decode } from '#core/cbor/decode.js';
import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asText, decodeMap } from '#core/cbor/read.js';
import type { CborValue } from '#core/cbor/value.js';
import { CvmpError } from '#core/errors.js';
import type { Endorsements, TrustAnchor } from '#core/rats/endorsements.js';
import { crypto } from '#crypto';
import type { AuditEvent } from '../release/contract.js';
import { deciding } from '../release/deciding.js';
import { type Journal, type Receipt, StaleRead } from '../store/journal.js';
import type { Keyring } from '../store/keyring.js';
import type { LatePut } from '../store/seal.js';
import type { Expectation, Store } from '../store/store.js';

/** What an appraisal was made on: enough to make it again. */
export interface AppraisedEvidence {
  readonly tenantId: string;
  /** 16 bytes. */
  readonly sessionId: Uint8Array;
  /** SHA-256 of the collection. */
  readonly digest: Uint8Array;
  /** CMW collection. */
  readonly collection: Uint8Array;
  readonly configDocument: Uint8Array;
  readonly reportData: Uint8Array;
  /** Time of evaluation, milliseconds since 1970. */
  readonly at: number;
  readonly endorsements: Endorsements;
  readonly anchors: readonly TrustAnchor[];
  /** The TPM opened the credential that it was given. */
  readonly activated: boolean;
}

/** How much is kept, and for how long. */
export interface EvidenceLimits {
  /** Larger evidence leaves its digest alone. */
  readonly bytesMax: number;
  /** 0: none is kept. */
  readonly days: number;
}

export interface EvidenceTools {
  readonly store: Store;
  readonly journal: Journal<AuditEvent>;
  readonly keyring: Keyring;
  readonly now: () => number;
  /** As configured now. */
  readonly limits: () => EvidenceLimits;
}

/** Something that evidence was verified with, under the name of its content. */
interface Document {
  readonly kind: string;
  readonly digest: Uint8Array;
  readonly content: Uint8Array;
}

const day = 86_400_000;
const prunedAtOnce = 200;
const knownMax = 4096;
/** As many as a record of the log may name (core/log/record.ts). */
const digestsMax = 64;
const anchorsKind = 'anchors';
const documentKind = 'document:';

const bucketName = (bucket: number) => bucket.toString(16).padStart(8, '0');
const documentPrefix = 'evidence-doc/';
const documentKey = (bucket: number, digest: Uint8Array) =>
  `${documentPrefix}${bucketName(bucket)}/${toHex(digest)}`;
const evidenceKey = (tenantId: string, sessionId: Uint8Array, digest: Uint8Array) =>
  `evidence/${tenantId}/${toHex(sessionId)}-${toHex(digest.subarray(0, 8))}`;
const expiryPrefix = 'evidence-until/';
const expiryKey = (bucket: number, key: string) => `${expiryPrefix}${bucketName(bucket)}/${key}`;

/** SHA-256 of each statement that evidence was verified with, for its record. */
export function endorsementDigests(endorsements: Endorsements): readonly Uint8Array[] {
  return documentsOf(endorsements)
    .slice(0, digestsMax)
    .map(({ digest }) => digest);
}

/**
 * Evidence of attested sessions and of those that a policy refused, sealed under the KEK of their
 * tenant, so that it can be appraised again. What many were verified with (certificates, lists,
 * roots) is there once for all whose time ends on the same day, and goes with that day. Evidence of
 * which no tenant is proven is not kept: anybody could fill the store with it.
 */
export class EvidenceKeeper {
  readonly #tools: EvidenceTools;
  /** Documents that are in the store. */
  readonly #known = new Set<string>();

  constructor(tools: EvidenceTools) {
    this.#tools = tools;
  }

  /** Records a decision with what it was made on, in one batch. */
  record(event: AuditEvent, evidence: AppraisedEvidence): Promise<Receipt | undefined> {
    return deciding(this.#tools.journal, event, {
      load: () => this.puts(evidence),
      decide: (puts) => ({
        puts,
        answer: (receipt: Receipt | undefined) => {
          for (const { key } of puts) this.#remember(key);
          return receipt;
        },
      }),
      forget: () => this.forget(),
    });
  }

  /** What to write with the decision; nothing where it is not to be kept. */
  async puts(evidence: AppraisedEvidence | undefined): Promise<readonly LatePut[]> {
    const { bytesMax, days } = this.#tools.limits();
    if (evidence === undefined || days === 0 || evidence.collection.length > bytesMax) return [];
    return this.#puts(evidence, Math.floor(evidence.at / day) + days + 1);
  }

  /** After a stale read: another session brought one of the documents, or they were pruned. */
  forget(): void {
    this.#known.clear();
  }

  /** @returns undefined where it was not kept, or is kept no longer. @throws CvmpError STORE_CORRUPT */
  async find(
    tenantId: string,
    sessionId: Uint8Array,
    digest: Uint8Array,
  ): Promise<AppraisedEvidence | undefined> {
    const { store, keyring } = this.#tools;
    const key = evidenceKey(tenantId, sessionId, digest);
    const stored = await store.get(key);
    if (stored === undefined) return undefined;
    const { records } = await keyring.of(tenantId);
    const { bucket, names, ...evidence } = decodeEvidence(records.open(key, stored));
    const documents = await Promise.all(names.map((name) => this.#document(bucket, name)));
    return { tenantId, sessionId, digest, ...evidence, ...partsOf(documents) };
  }

  /** Forgets some of what is old enough. @returns whether there is more */
  async prune(): Promise<boolean> {
    const { store, journal, now } = this.#tools;
    const today = bucketName(Math.floor(now() / day));
    const isOld = (prefix: string) => (entry: { readonly key: string }) =>
      entry.key.slice(prefix.length, prefix.length + today.length) < today;
    const names = await store.list({ prefix: expiryPrefix, limit: prunedAtOnce });
    const documents = await store.list({ prefix: documentPrefix, limit: prunedAtOnce });
    const deletes: Expectation[] = [];
    for (const { key, version } of names.filter(isOld(expiryPrefix))) {
      const evidence = key.slice(expiryPrefix.length + today.length + 1);
      // 2 and more where a new KEK came since.
      const found = await store.get(evidence);
      deletes.push({ key, expected: version });
      if (found !== undefined) deletes.push({ key: evidence, expected: found.version });
    }
    deletes.push(
      ...documents
        .filter(isOld(documentPrefix))
        .map(({ key, version }) => ({ key, expected: version })),
    );
    if (deletes.length === 0) return false;
    this.#known.clear();
    try {
      await journal.submit({ deletes });
    } catch (error) {
      // Another server was faster, or the tenant gets a new KEK: later.
      if (!(error instanceof StaleRead)) throw error;
      return false;
    }
    return true;
  }

  async #puts(evidence: AppraisedEvidence, bucket: number): Promise<readonly LatePut[]> {
    const { journal, keyring } = this.#tools;
    const { tenantId, sessionId, digest } = evidence;
    const { records } = await keyring.of(tenantId);
    const documents = documentsOf(evidence.endorsements, evidence.anchors);
    const key = evidenceKey(tenantId, sessionId, digest);
    const puts = [
      records.put(key, 0, encodeEvidence(evidence, bucket, documents)),
      emptyPut(expiryKey(bucket, key)),
    ];
    const names = new Set<string>();
    for (const { digest: name, content } of documents) {
      const place = documentKey(bucket, name);
      if (names.has(place) || this.#known.has(place)) continue;
      names.add(place);
      if ((await journal.get(place)) === undefined) {
        puts.push(keyring.server.put(place, 0, content));
      }
    }
    return puts;
  }

  #remember(key: string): void {
    if (!key.startsWith(documentPrefix)) return;
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.add(key);
  }

  async #document(bucket: number, { kind, digest }: Omit<Document, 'content'>): Promise<Document> {
    const key = documentKey(bucket, digest);
    const stored = await this.#tools.store.get(key);
    if (stored === undefined) throw new CvmpError('STORE_CORRUPT', `the record ${key} is missing`);
    return { kind, digest, content: this.#tools.keyring.server.open(key, stored) };
  }
}

function documentsOf(
  { certificates, crls, documents = [] }: Endorsements,
  anchors?: readonly TrustAnchor[],
): readonly Document[] {
  const named = (kind: string, content: Uint8Array) => ({
    kind,
    content,
    digest: crypto.hash('sha256', content),
  });
  return [
    ...certificates.map((content) => named('certificate', content)),
    ...crls.map((content) => named('crl', content)),
    ...documents.map(({ mediaType, value }) => named(`${documentKind}${mediaType}`, value)),
    ...(anchors === undefined ? [] : [named(anchorsKind, encodeAnchors(anchors))]),
  ];
}

function partsOf(documents: readonly Document[]): {
  readonly endorsements: Endorsements;
  readonly anchors: readonly TrustAnchor[];
} {
  const contents = (kind: string) =>
    documents.filter((one) => one.kind === kind).map(({ content }) => content);
  return {
    endorsements: {
      certificates: contents('certificate'),
      crls: contents('crl'),
      documents: documents
        .filter(({ kind }) => kind.startsWith(documentKind))
        .map(({ kind, content }) => ({
          mediaType: kind.slice(documentKind.length),
          value: content,
        })),
    },
    anchors: contents(anchorsKind).flatMap(decodeAnchors),
  };
}

function encodeEvidence(
  evidence: AppraisedEvidence,
  bucket: number,
  documents: readonly Document[],
): Uint8Array {
  return encode(
    new Map<number, CborValue>([
      [1, evidence.collection],
      [2, evidence.configDocument],
      [3, evidence.reportData],
      [4, evidence.at],
      [5, evidence.activated],
      [6, bucket],
      [7, documents.map(({ kind, digest }) => [kind, digest])],
    ]),
  );
}

function decodeEvidence(bytes: Uint8Array) {
  return decodeMap(bytes, 'evidence', (m) => ({
    collection: m.bytes(1, 'collection'),
    configDocument: m.bytes(2, 'config_document'),
    reportData: m.bytes(3, 'report_data'),
    at: m.integer(4, 'at'),
    activated: m.boolean(5, 'activated'),
    bucket: m.integer(6, 'bucket'),
    names: m.array(7, 'documents', {}, (item, field) => {
      const [kind, digest] = asArray(item, field, { length: 2 });
      return { kind: asText(kind, field), digest: asBytes(digest, field, { length: 32 }) };
    }),
  }));
}

function encodeAnchors(anchors: readonly TrustAnchor[]): Uint8Array {
  return encode(
    anchors.map(({ format, name, spkiDigest, isTpmMaker = false }) => [
      format,
      name,
      spkiDigest,
      isTpmMaker,
    ]),
  );
}

function decodeAnchors(bytes: Uint8Array): readonly TrustAnchor[] {
  const field = 'anchors';
  return asArray(decode(bytes), field).map((item) => {
    const [format, name, spkiDigest, isTpmMaker] = asArray(item, field, { length: 4 });
    return {
      format: asText(format, field),
      name: asText(name, field),
      spkiDigest: asBytes(spkiDigest, field, { length: 32 }),
      isTpmMaker: isTpmMaker === true,
    };
  });
}

/** A name leads to what is sealed; there is nothing to seal in it. */
function emptyPut(key: string): LatePut {
  return { key, expected: 0, version: 1, seal: () => new Uint8Array() };
}
