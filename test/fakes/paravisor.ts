import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { concat, fromBase64Url, fromUtf8, toBase64Url, toHex, utf8 } from '#core/bytes.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import { toPem } from '#core/x509/pem.js';
import { crypto } from '#crypto';
import { hclReport, runtimeData } from './azure.js';
import type { Swtpm } from './swtpm.js';

/** What the paravisor's hardware reports over 64 bytes: an SNP report, or a TDREPORT. */
export interface Hardware {
  /** Of an HCL report: 2 SNP, 4 TDX. */
  readonly reportType: 2 | 4;
  readonly report: (reportData: Uint8Array) => Promise<Uint8Array>;
}

const reportIndex = 0x01400001;
const userDataIndex = 0x01400002;
const akHandle = '0x81000003';

/** The part of an Azure CVM that owns its vTPM: keys, NV indices, and the report of both. */
export class Paravisor {
  readonly #tpm: Swtpm;
  readonly #hardware: Hardware;

  private constructor(tpm: Swtpm, hardware: Hardware) {
    this.#tpm = tpm;
    this.#hardware = hardware;
  }

  static async start(tpm: Swtpm, hardware: Hardware): Promise<Paravisor> {
    const context = tpm.file('azure.ctx');
    const attributes = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda';
    const key = ['-G', 'rsa2048:rsassa-sha256:null', '-a', attributes];
    tpm.run('createprimary', '-Q', '-C', 'e', ...key, '-c', context);
    tpm.run('evictcontrol', '-Q', '-C', 'o', '-c', context, akHandle);
    const paravisor = new Paravisor(tpm, hardware);
    tpm.nvStore(reportIndex, await paravisor.#hclReport(new Uint8Array(64)));
    return paravisor;
  }

  /** Reports what the guest wrote, as it does a little after the guest wrote it. */
  async refresh(): Promise<void> {
    const userData = this.#tpm.run('nvread', '-C', 'o', `0x${userDataIndex.toString(16)}`);
    const path = this.#tpm.file('hcl', await this.#hclReport(userData));
    this.#tpm.run('nvwrite', '-C', 'o', '-i', path, `0x${reportIndex.toString(16)}`);
  }

  async #hclReport(userData: Uint8Array): Promise<Uint8Array> {
    const path = this.#tpm.file('ak.tpmt');
    this.#tpm.run('readpublic', '-Q', '-c', akHandle, '-f', 'tpmt', '-o', path);
    const { spki } = parsePublicArea(this.#tpm.read('ak.tpmt'));
    const all = runtimeData({ akSpki: spki }, { 'user-data': toHex(userData).toUpperCase() });
    // An index of swtpm holds 2048 bytes, those of Azure more: the EK has no place.
    const json = JSON.parse(fromUtf8(all)) as { keys: unknown[] };
    const data = utf8(JSON.stringify({ ...json, keys: json.keys.slice(0, 1) }));
    const hardware = await this.#hardware.report(
      concat(crypto.hash('sha256', data), new Uint8Array(32)),
    );
    const { reportType } = this.#hardware;
    return hclReport({ hardware, runtimeData: data, reportType });
  }
}

/** A TDREPORT (1024 bytes) whose REPORTDATA (at 128) is this. */
export function tdReport(reportData: Uint8Array): Uint8Array {
  const report = new Uint8Array(1024);
  report.set(reportData, 128);
  return report;
}

/** Answers of the metadata service; a text is answered as it is. */
export interface ImdsAnswers {
  /** DER: VCEK first. */
  readonly vcekChain?: readonly Uint8Array[] | string;
  readonly quote?: ((reportData: Uint8Array) => Promise<Uint8Array>) | string;
}

/** The instance metadata service, on this machine. It hears only who says `metadata: true`. */
export async function serveImds(
  answers: ImdsAnswers,
): Promise<{ readonly url: string; close(): void }> {
  const { vcekChain, quote } = answers;
  const certification = (): string | undefined => {
    if (vcekChain === undefined || typeof vcekChain === 'string') return vcekChain;
    const [vcekCert, ...rest] = vcekChain.map((der) => toPem('CERTIFICATE', der));
    return JSON.stringify({ vcekCert, tcbm: '0', certificateChain: rest.join('') });
  };
  const tdQuote = async (body: string): Promise<string | undefined> => {
    if (quote === undefined || typeof quote === 'string') return quote;
    const report = fromBase64Url((JSON.parse(body) as { report: string }).report);
    return JSON.stringify({ quote: toBase64Url(await quote(report.slice(128, 192))) });
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const asked = `${request.method} ${request.url} ${request.headers.metadata}`;
    const answer = asked.startsWith('GET /metadata/THIM/amd/certification true')
      ? certification()
      : asked === 'POST /acc/tdquote true'
        ? await tdQuote(body)
        : undefined;
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}
