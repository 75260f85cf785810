import { onTestFinished } from 'vitest';
import { toHex } from '#core/bytes.js';
import type { VendorStatement } from '#core/rats/endorsements.js';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import type { SnpProduct, SnpTcb } from '#core/snp/product.js';
import { toPem } from '#core/x509/pem.js';
import { readConfig } from '#server/host/config/reader.js';
import { createLog } from '#server/host/log.js';
import { type OpenEndorsements, openEndorsements } from '#server/key-server/endorsements/open.js';
import { readEndorsementSettings } from '#server/key-server/endorsements/settings.js';
import type { SimulatedAuthority } from '#sim/authority.js';
import { productTcb, type SimulatedChip } from '#sim/chip.js';
import { SecurityProcessor } from '#sim/security-processor.js';
import { FakeClock } from '../../../fakes/clock.js';
import { FakeIntel, fmspc, now, qeIdentity, tcbInfo } from '../../../fakes/intel.js';
import {
  simulatedAuthority,
  simulatedProcessor,
  testTime,
} from '../../../fakes/simulated-hardware.js';
import { type FakeAnswer, FakeVendorService } from '../../../fakes/vendor-service.js';
import { temporaryFolder } from '../../../run-folder.js';

const day = 24 * 3600 * 1000;

/** Time at which tests start: inside of all that the fake vendors sign. */
export const startTime = now;

const pem = (...certificates: readonly Uint8Array[]) =>
  certificates.map((der) => toPem('CERTIFICATE', der)).join('');

/** AMD's KDS and Intel's PCS on one loopback server, by simulated hardware's own authorities. */
export class FakeVendors {
  readonly service: FakeVendorService;
  readonly authority: SimulatedAuthority;
  readonly chip: SimulatedChip;
  readonly product: SnpProduct;
  readonly intel: FakeIntel;

  private constructor(
    service: FakeVendorService,
    chip: SimulatedChip,
    product: SnpProduct,
    intel: FakeIntel,
  ) {
    this.service = service;
    this.chip = chip;
    this.authority = chip.authority;
    this.product = product;
    this.intel = intel;
  }

  /** @param of the chip whose VCEK the KDS has; a new one unless told */
  static async start(product: SnpProduct = 'Genoa', of?: SimulatedChip): Promise<FakeVendors> {
    const chip = of ?? (await simulatedProcessor(product)).chip;
    const service = await FakeVendorService.start();
    const vendors = new FakeVendors(service, chip, product, await FakeIntel.create());
    await vendors.#routes();
    return vendors;
  }

  get tcb(): SnpTcb {
    return productTcb[this.product];
  }

  get vcek(): VendorStatement {
    return { kind: 'amd-vcek', product: this.product, hwId: this.chip.hwId, tcb: this.tcb };
  }

  get vcekPath(): string {
    const { fmc, bootloader, tee, snp, microcode } = this.tcb;
    const two = (value: number) => String(value).padStart(2, '0');
    const front = this.product === 'Turin' ? `fmcSPL=${two(fmc)}&` : '';
    const rest = `blSPL=${two(bootloader)}&teeSPL=${two(tee)}&snpSPL=${two(snp)}`;
    const query = `${front}${rest}&ucodeSPL=${two(microcode)}`;
    return `/vcek/v1/${this.product}/${toHex(this.chip.hwId)}?${query}`;
  }

  get crl(): VendorStatement {
    return { kind: 'amd-crl', product: this.product, signer: 'vcek' };
  }

  get crlPath(): string {
    return `/vcek/v1/${this.product}/crl`;
  }

  get chainPath(): string {
    return `/vcek/v1/${this.product}/cert_chain`;
  }

  readonly tcbInfo: VendorStatement = { kind: 'intel-tcb-info', fmspc };
  readonly tcbInfoPath = `/tdx/certification/v4/tcb?fmspc=${toHex(fmspc)}&update=standard`;
  readonly qeIdentityPath = '/tdx/certification/v4/qe/identity?update=standard';
  readonly pckCrlPath = '/sgx/certification/v4/pckcrl?ca=platform&encoding=der';
  readonly rootCrlPath = '/IntelSGXRootCA.der';

  async vcekDer(): Promise<Uint8Array> {
    const { certTable } = await this.chip.vcek(this.tcb);
    return parseCertTable(certTable).find(({ kind }) => kind === 'VCEK')!.data;
  }

  /** A revocation list of the ARK that is good for 30 days from `at` on. */
  crlDer(at = startTime - day, revoked: readonly ('ask' | 'asvk')[] = []): Uint8Array {
    return this.authority.issueCrl(at, revoked);
  }

  async tcbInfoAnswer(change: Record<string, unknown> = {}): Promise<FakeAnswer> {
    return {
      body: await this.intel.signed('tcbInfo', tcbInfo(change)),
      headers: {
        'content-type': 'application/json',
        'TCB-Info-Issuer-Chain': await this.signerChain(),
      },
    };
  }

  async signerChain(): Promise<string> {
    return encodeURIComponent(
      pem(await this.intel.certificate('signer'), await this.intel.certificate('root')),
    );
  }

  async #routes(): Promise<void> {
    const { service, intel, authority } = this;
    const { askCertificate, asvkCertificate, arkCertificate } = authority;
    service.route(this.vcekPath, {
      body: await this.vcekDer(),
      headers: { 'content-type': 'application/x-x509-ca-cert' },
    });
    service.route(this.chainPath, { body: pem(askCertificate, arkCertificate) });
    service.route(`/vlek/v1/${this.product}/cert_chain`, {
      body: pem(asvkCertificate, arkCertificate),
    });
    service.route(this.crlPath, { body: this.crlDer() });
    service.route(`/vlek/v1/${this.product}/crl`, { body: this.crlDer() });
    service.route(this.tcbInfoPath, await this.tcbInfoAnswer());
    service.route(this.qeIdentityPath, {
      body: await intel.signed('enclaveIdentity', qeIdentity()),
      headers: { 'SGX-Enclave-Identity-Issuer-Chain': await this.signerChain() },
    });
    const issuers = pem(await intel.certificate('ca'), await intel.certificate('root'));
    service.route(this.pckCrlPath, {
      body: await intel.crl('ca'),
      headers: { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(issuers) },
    });
    service.route(this.rootCrlPath, { body: await intel.crl('root') });
  }
}

export interface KeeperChange {
  readonly mode?: 'offline' | 'fetch';
  readonly folder?: string;
  readonly clock?: FakeClock;
  /** Further lines of the section, YAML. */
  readonly settings?: Record<string, unknown>;
  readonly fetch?: Record<string, unknown>;
}

export interface TestEndorsements extends OpenEndorsements {
  readonly path: string;
  readonly clock: FakeClock;
}

/** The endorsements of a Key Server whose vendors are the fakes. */
export async function endorsementsOf(
  vendors: FakeVendors,
  change: KeeperChange = {},
): Promise<TestEndorsements> {
  const path = change.folder ?? temporaryFolder('endorsements');
  const clock = change.clock ?? new FakeClock(startTime);
  const { url } = vendors.service;
  const config = {
    mode: change.mode ?? 'fetch',
    folder: path,
    ...change.settings,
    fetch: {
      kds_url: url,
      pcs_url: url,
      root_crl_url: `${url}${vendors.rootCrlPath}`,
      attempts_max: 1,
      circuit_failures: 100,
      ...change.fetch,
    },
  };
  const settings = readConfig(JSON.stringify(config), '/x.yaml', readEndorsementSettings).value;
  const { anchor } = await simulatedAuthority(vendors.product);
  const open = openEndorsements(
    settings,
    {
      anchors: [anchor, vendors.intel.anchor],
      clock,
      random: () => 0.5,
      log: createLog('test', 'silent'),
    },
    settings.mode === 'fetch',
  );
  onTestFinished(() => open.close());
  return { ...open, path, clock };
}

/** `held`, `absent`, or the code of the failure with its reason. */
export async function outcome(open: OpenEndorsements, statement: VendorStatement): Promise<string> {
  const got = await open.keeper.obtain(statement);
  return got.outcome === 'failed' ? `${got.error.code} ${got.error.message}` : got.outcome;
}

/** All that one TDX quote needs. */
export const intelStatements = (vendors: FakeVendors): readonly VendorStatement[] => [
  vendors.tcbInfo,
  { kind: 'intel-qe-identity' },
  { kind: 'intel-pck-crl', ca: 'platform' },
  { kind: 'intel-root-crl' },
];

/** A genuine VCEK of the fake vendors' first TCB, of a chip that no test asks for. */
export async function vcekOfAnother(): Promise<Uint8Array> {
  const authority = await simulatedAuthority('Genoa');
  const { chip } = await SecurityProcessor.create(authority, () => testTime);
  const { certTable } = await chip.vcek(productTcb.Genoa);
  return parseCertTable(certTable).find(({ kind }) => kind === 'VCEK')!.data;
}
