import { EventEmitter } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseCertTable } from '#core/snp/endorsement/cert-table.js';
import { toPem } from '#core/x509/pem.js';
import { runProgram } from '#server/host/program.js';
import { keyServer } from '#server/key-server/program.js';
import {
  launchTestGuest,
  simulatedAuthority,
  simulatedProcessor,
} from '../../../fakes/simulated-hardware.js';
import { temporaryFolder } from '../../../run-folder.js';
import { FakeVendors, startTime } from './vendors.js';

/** The Key Server's program in a folder of its own. */
class Place {
  readonly path = temporaryFolder('endorsement-commands');
  readonly vendors: FakeVendors;

  private constructor(vendors: FakeVendors) {
    this.vendors = vendors;
  }

  static async make(vendors?: FakeVendors): Promise<Place> {
    const place = new Place(vendors ?? (await FakeVendors.start()));
    const { url } = place.vendors.service;
    const { intel, authority, rootCrlPath } = place.vendors;
    const roots = [authority.arkCertificate, await intel.certificate('root')];
    place.write('roots.pem', roots.map((der) => toPem('CERTIFICATE', der)).join(''));
    const fetch = {
      kds_url: url,
      pcs_url: url,
      root_crl_url: `${url}${rootCrlPath}`,
      attempts_max: 1,
    };
    const config = { verifier: { trust_anchor_files: ['roots.pem'] }, endorsements: { fetch } };
    place.write('ks.yaml', stringify(config));
    return place;
  }

  write(name: string, content: string | Uint8Array): string {
    const file = join(this.path, name);
    writeFileSync(file, content);
    return file;
  }

  async run(...words: string[]) {
    const out = { stdout: '', stderr: '' };
    const code = await runProgram(
      keyServer(() => startTime),
      {
        arguments: ['endorsements', ...words, '--config', join(this.path, 'ks.yaml')],
        stdout: (text) => {
          out.stdout += text;
        },
        stderr: (text) => {
          out.stderr += text;
        },
        signals: new EventEmitter(),
        secrets: () => ({ readSecret: async () => new Uint8Array() }),
        exit: () => {
          throw new Error('exit');
        },
      },
    );
    return { code, ...out };
  }
}

describe('cvmp-key-server endorsements', () => {
  test('list of an empty folder says so', async () => {
    const place = await Place.make();
    const { code, stdout } = await place.run('list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/holds no endorsements/);
  });

  test('fetch for a recorded report and quote fills the folder, mode offline or not', async () => {
    const processor = await simulatedProcessor('Genoa');
    const place = await Place.make(await FakeVendors.start('Genoa', processor.chip));
    const guest = await launchTestGuest(processor);
    const signed = await guest.report({ reportData: new Uint8Array(64), vmpl: 0 });
    const report = place.write('report.bin', signed.report);
    const quote = place.write('quote.bin', await place.vendors.intel.quote());
    const fetched = await place.run('fetch', '--evidence', report, '--evidence', quote);
    expect(fetched).toMatchObject({ code: 0, stderr: '' });
    expect(fetched.stdout.trim().split('\n').length).toBe(7);
    const { stdout } = await place.run('list');
    expect(stdout).toMatch(/^STATE +GOT +GOOD UNTIL +NAME\n/);
    expect(stdout).toMatch(/good +2026-06-01 {2}\S+ +amd\/vcek\/Genoa\/[0-9a-f]{128}\/bl10-\S+\n/);
    expect(stdout.match(/^good /gm)?.length).toBe(7);
    const { length } = place.vendors.service.requests;
    expect((await place.run('fetch')).stdout.trim().split('\n').length).toBe(6);
    expect(place.vendors.service.requests.length).toBe(length + 6);
  });

  test('fetch of a product gets both chains and their lists', async () => {
    const place = await Place.make();
    const { code, stdout } = await place.run('fetch', '--product', 'Genoa');
    expect(code).toBe(0);
    expect(stdout).toBe(
      'amd/vcek/Genoa/cert_chain.pem: good until 2050-01-01\n' +
        'amd/vcek/Genoa/crl.der: good until 2026-06-30\n' +
        'amd/vlek/Genoa/cert_chain.pem: good until 2050-01-01\n' +
        'amd/vlek/Genoa/crl.der: good until 2026-06-30\n',
    );
  });

  test('import takes certificates, lists and collateral from files of any name', async () => {
    const place = await Place.make();
    const { authority, intel, chip, tcb } = place.vendors;
    const { certTable } = await chip.vcek(tcb);
    const pems = parseCertTable(certTable).map(({ data }) => toPem('CERTIFICATE', data));
    const { body, headers } = await place.vendors.tcbInfoAnswer();
    const chain = decodeURIComponent(headers?.['TCB-Info-Issuer-Chain'] ?? '');
    const { code, stdout, stderr } = await place.run(
      'import',
      place.write('genoa.pem', pems.join('')),
      place.write('asvk.der', authority.asvkCertificate),
      place.write('ark.crl', place.vendors.crlDer()),
      place.write('tcb.json', body as Uint8Array),
      place.write('chain.pem', chain),
      place.write('root.crl', await intel.crl('root')),
      place.write('ca.der', await intel.certificate('ca')),
      place.write('pck.pem', toPem('X509 CRL', await intel.crl('ca'))),
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.split('\n').map((line) => line.split(':')[0])).toEqual([
      'amd/vcek/Genoa/cert_chain.pem',
      'amd/vlek/Genoa/cert_chain.pem',
      'intel/tdx/tcb/00906ea10000.json',
      'amd/vcek/Genoa/crl.der',
      'amd/vlek/Genoa/crl.der',
      'intel/rootcacrl.der',
      'intel/pckcrl/platform.der',
      expect.stringMatching(/^amd\/vcek\/Genoa\/[0-9a-f]{128}\/bl10-tee0-snp24-ucode84\.der$/),
      '',
    ]);
    expect(place.vendors.service.requests).toEqual([]);
    expect((await place.run('list')).stdout.match(/^good /gm)?.length).toBe(8);
  });

  test.each([
    ['garbage', Buffer.from('garbage'), /MALFORMED|garbage|tag/],
    ['a key', Buffer.from(toPem('PRIVATE KEY', Uint8Array.of(0x30, 0))), /PRIVATE KEY/],
  ])('import of %s is refused, and leaves nothing', async (_what, bytes) => {
    const place = await Place.make();
    const { code, stderr } = await place.run('import', place.write('x', bytes));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^cvmp-key-server: error: .*\n {2}hint: /);
    expect((await place.run('list')).stdout).toMatch(/holds no endorsements/);
  });

  test('a list under a foreign root is refused', async () => {
    const place = await Place.make();
    const { arkCertificate, askCertificate } = await simulatedAuthority('Genoa');
    const pem = [askCertificate, arkCertificate].map((der) => toPem('CERTIFICATE', der)).join('');
    place.write('roots.pem', toPem('CERTIFICATE', await place.vendors.intel.certificate('root')));
    const { code, stderr } = await place.run('import', place.write('chain.pem', pem));
    expect(code).toBe(1);
    expect(stderr).toMatch(/no trust anchor has the key of/);
  });

  test('list tells what is stale and what is damaged', async () => {
    const place = await Place.make();
    await place.run('fetch', '--product', 'Genoa');
    const folder = join(place.path, 'endorsements');
    mkdirSync(join(folder, 'intel'), { recursive: true });
    writeFileSync(join(folder, 'intel/rootcacrl.der'), 'x');
    writeFileSync(
      join(folder, 'amd/vcek/Genoa/crl.der'),
      place.vendors.crlDer(startTime - 60 * 86_400_000),
    );
    writeFileSync(join(folder, 'README'), 'not looked at');
    const { stdout } = await place.run('list');
    expect(stdout).toMatch(/stale .*amd\/vcek\/Genoa\/crl.der: .*valid from/);
    expect(stdout).toMatch(/refused .*intel\/rootcacrl.der: /);
    expect(stdout).not.toContain('README');
  });

  test.each([
    [['fetch', '--product', 'Naples'], /--product is one of Milan, Genoa, Turin/],
    [['fetch'], /nothing to renew/],
    [['import'], /name the files/],
    [['list', 'x'], /wrong usage/],
    [['list', '--product', 'Genoa'], /wrong usage/],
    [['forget'], /wrong usage/],
  ])('%j is wrong usage', async (words, expected) => {
    const place = await Place.make();
    const { code, stderr } = await place.run(...words);
    expect(code).toBe(2);
    expect(stderr).toMatch(expected);
  });

  test('a vendor that is away is told as such', async () => {
    const place = await Place.make();
    place.vendors.service.route(place.vendors.chainPath, { status: 503 });
    const { code, stderr } = await place.run('fetch', '--product', 'Genoa');
    expect(code).toBe(1);
    expect(stderr).toMatch(/amd\/vcek\/Genoa\/cert_chain.pem: http:.* answered 503/);
  });
});
