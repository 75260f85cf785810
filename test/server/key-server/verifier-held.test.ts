import { describe, expect, it } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { platformKeyType } from '#core/cca/endorsement.js';
import { qeIdentityType, tcbInfoType } from '#core/tdx/endorsement/collateral.js';
import { trustAnchors } from '#server/key-server/verifier/anchors.js';
import { heldEndorsements } from '#server/key-server/verifier/held.js';
import { ccaMachine, ekMachine, tdxMachine } from '../../fakes/machines.js';
import { simulatedAuthority } from '../../fakes/simulated-hardware.js';
import { refusalOf } from '../../refusal.js';

describe('what the configuration holds is kept by vendor (docs/protocol.md, Evidence)', () => {
  it('each kind of evidence is verified with what is of its vendor', async () => {
    const { arkCertificate } = await simulatedAuthority();
    const tdx = (await tdxMachine(4, false)).files;
    const tpm = (await ekMachine()).files;
    const cca = (await ccaMachine()).files;
    const held = heldEndorsements([
      { name: 'ark', bytes: arkCertificate },
      ...(tdx.held ?? []),
      ...(tpm.tpmMakers ?? []),
      ...(cca.held ?? []),
    ]);
    const types = (format: string) => (held(format).documents ?? []).map((d) => d.mediaType);
    expect(held('snp').certificates).toEqual([arkCertificate]);
    expect(held('azure-snp')).toEqual(held('snp'));
    expect(held('svsm')).toEqual(held('snp'));
    expect(held('tdx')).toMatchObject({ certificates: { length: 2 }, crls: { length: 2 } });
    expect(types('tdx')).toEqual([tcbInfoType, qeIdentityType]);
    expect(held('azure-tdx')).toEqual(held('tdx'));
    expect(held('tpm')).toMatchObject({ certificates: { length: 1 }, crls: [] });
    expect(types('cca')).toEqual([platformKeyType]);
    expect(held('ear')).toMatchObject({ certificates: [], crls: [] });
  });

  const wrong: [string, string][] = [
    ['no certificate', 'hello'],
    ['JSON of another form', '{"x": 1}'],
    ['a platform key without its endorser', '{"implementation_id": "00", "instance_id": "00"}'],
    ['TCB Info without a signature', '{"tcbInfo": {}}'],
    ['a broken PEM', '-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n'],
  ];
  it.each(wrong)('%s is a fault of the configuration', async (_, text) => {
    const work = () => heldEndorsements([{ name: 'x', bytes: utf8(text) }]);
    expect(await refusalOf(work)).toBe('CONFIG');
  });
});

describe('trust anchors (docs/operating.md)', () => {
  it('the vendors are pinned; an added root is for every format, a maker of TPMs for TPMs', async () => {
    const { arkCertificate } = await simulatedAuthority();
    const [maker] = (await ekMachine()).files.tpmMakers ?? [];
    const pinned = trustAnchors({ roots: [], tpmMakers: [] });
    expect(pinned.map(({ format }) => format)).toEqual(['snp', 'snp', 'snp', 'tdx', 'tpm']);
    const roots = [{ name: 'ark', bytes: arkCertificate }];
    const all = trustAnchors({ roots, tpmMakers: [maker!] }).slice(pinned.length);
    expect(all.map(({ format, isTpmMaker }) => [format, isTpmMaker])).toEqual([
      ['tpm', true],
      ['snp', undefined],
      ['tdx', undefined],
      ['tpm', undefined],
    ]);
  });
});
