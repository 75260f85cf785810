import { equalBytes, fromUtf8, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { parseQuote } from '#core/tpm/attest.js';
import { crypto } from '#crypto';
import type { TpmConfig } from '../../config-attester.js';
import { TpmTools, type TpmToolsOptions } from './tools.js';

export type PcrBank = TpmConfig['bank'];

/** A quote as the TPM made it, with the values that it was made over. */
export interface QuotedPcrs {
  /** TPMS_ATTEST. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
}

/** A key of the TPM, as the tools name it: a persistent handle, or the file of its context. */
export type TpmObject = string;

const digestLength: Readonly<Record<PcrBank, number>> = { sha256: 32, sha384: 48 };
/** PCRs may be extended between the quote and their reading. */
const attemptsMax = 4;
/** TPMI_RH_NV_INDEX and persistent handles as the tools list them. */
const handlePattern = /^- (0x[0-9A-Fa-f]+)$/gm;

export const handleText = (handle: number): TpmObject => `0x${handle.toString(16)}`;

/** What the agent asks of a TPM 2.0, one operation at a time. */
export class Tpm {
  readonly tools: TpmTools;

  private constructor(tools: TpmTools) {
    this.tools = tools;
  }

  static async open(options: TpmToolsOptions): Promise<Tpm> {
    return new Tpm(await TpmTools.open(options));
  }

  close(): Promise<void> {
    return this.tools.close();
  }

  /** NV indices or persistent handles that there are. */
  async handles(kind: 'nv-index' | 'persistent'): Promise<ReadonlySet<number>> {
    const text = fromUtf8(await this.tools.run('getcap', [`handles-${kind}`]));
    return new Set([...text.matchAll(handlePattern)].map(([, handle]) => Number(handle)));
  }

  /** All of an NV index that the owner may read. */
  async nvRead(index: number): Promise<Uint8Array> {
    await this.tools.run('nvread', ['-C', 'o', '-o', this.tools.path('nv'), handleText(index)]);
    return this.tools.take('nv');
  }

  /** Defines an NV index that the owner may read and write. */
  async nvDefine(index: number, size: number): Promise<void> {
    await this.tools.run('nvdefine', ['-C', 'o', '-s', `${size}`, handleText(index)]);
  }

  async nvWrite(index: number, data: Uint8Array): Promise<void> {
    await this.tools.run('nvwrite', ['-C', 'o', '-i', '-', handleText(index)], data);
  }

  /** TPMT_PUBLIC. */
  async readPublic(object: TpmObject): Promise<Uint8Array> {
    const args = ['-c', object, '-f', 'tpmt', '-o', this.tools.path('public')];
    await this.tools.run('readpublic', args);
    return this.tools.take('public');
  }

  /** Value of a PCR. @throws CvmpError TPM_UNAVAILABLE where the TPM lacks the bank */
  async readPcr(bank: PcrBank, pcr: number): Promise<Uint8Array> {
    const args = ['-F', 'values', '-o', this.tools.path('pcr'), `${bank}:${pcr}`];
    await this.tools.run('pcrread', args);
    const value = await this.tools.take('pcr');
    if (value.length === digestLength[bank]) return value;
    throw new CvmpError('TPM_UNAVAILABLE', `the TPM has no bank ${bank}`, { field: 'tpm.bank' });
  }

  /** Extends a PCR in every bank that a verifier believes. Banks that the TPM lacks are ignored. */
  async extendPcr(pcr: number, measured: Uint8Array): Promise<void> {
    const digests = (['sha256', 'sha384'] as const).map(
      (bank) => `${bank}=${toHex(crypto.hash(bank, measured))}`,
    );
    await this.tools.run('pcrextend', [`${pcr}:${digests.join(',')}`]);
  }

  /**
   * A quote by `ak` with the values that it is over.
   * @throws CvmpError TSM_BUSY where PCRs keep changing, TPM_UNAVAILABLE
   */
  async quote(
    ak: TpmObject,
    bank: PcrBank,
    pcrs: readonly number[],
    qualifyingData: Uint8Array,
  ): Promise<QuotedPcrs> {
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const quoted = await this.#quoteOnce(ak, bank, pcrs, qualifyingData);
      if (quoted !== undefined) return quoted;
    }
    throw new CvmpError('TSM_BUSY', 'PCRs were extended during each quote', { field: 'tpm.pcrs' });
  }

  /** @returns undefined where a PCR changed between quote and reading */
  async #quoteOnce(
    ak: TpmObject,
    bank: PcrBank,
    pcrs: readonly number[],
    qualifyingData: Uint8Array,
  ): Promise<QuotedPcrs | undefined> {
    const { tools } = this;
    const selection = `${bank}:${pcrs.join(',')}`;
    const files = ['-m', tools.path('attest'), '-s', tools.path('signature')];
    const args = ['-Q', '-c', ak, '-l', selection, '-q', toHex(qualifyingData), ...files];
    await tools.run('quote', args);
    await tools.run('pcrread', ['-Q', '-F', 'values', '-o', tools.path('pcrs'), selection]);
    const attest = await tools.take('attest');
    const signature = await tools.take('signature');
    const values = await tools.take('pcrs');
    const length = digestLength[bank];
    if (values.length !== length * pcrs.length) {
      throw new CvmpError('TPM_UNAVAILABLE', `the TPM has no bank ${bank}`, { field: 'tpm.bank' });
    }
    // TPM 2.0 Part 3, 18.4.1: the digest is by the hash of the signature's scheme.
    const { pcrDigest } = parseQuote(attest);
    const hash = pcrDigest.length === digestLength.sha384 ? 'sha384' : 'sha256';
    if (!equalBytes(crypto.hash(hash, values), pcrDigest)) return undefined;
    const value = (i: number) => values.slice(i * length, (i + 1) * length);
    return { attest, signature, pcrs: new Map(pcrs.map((pcr, i) => [pcr, value(i)])) };
  }

  /**
   * A primary key; the same arguments give the same key for as long as the hierarchy's seed lives.
   * @param args of tpm2_createprimary beside the name of its context
   */
  async createPrimary(name: string, args: readonly string[]): Promise<TpmObject> {
    const context = this.tools.path(name);
    await this.tools.run('createprimary', ['-Q', '-c', context, ...args]);
    return context;
  }

  /** Keeps a key at a persistent handle. */
  async persist(object: TpmObject, handle: number): Promise<void> {
    await this.tools.run('evictcontrol', ['-Q', '-C', 'o', '-c', object, handleText(handle)]);
  }
}
