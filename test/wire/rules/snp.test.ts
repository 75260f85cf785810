import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { encodeIdBlock } from '#core/snp/launch/id-block.js';
import {
  SnpLevelSchema,
  SnpRulesSchema,
  SvsmLevelSchema,
  SvsmRulesSchema,
} from '#gen/cvmp/v1/policy_pb.js';
import { snpLevelOf, snpRulesOf } from '#wire/rules/snp.js';
import { svsmLevelOf, svsmRulesOf } from '#wire/rules/svsm.js';
import { refusalOf } from '../../refusal.js';

const block = {
  measurement: new Uint8Array(48).fill(1),
  familyId: new Uint8Array(16).fill(2),
  imageId: new Uint8Array(16).fill(3),
  guestSvn: 4,
  guestPolicy: 0x30000n,
};
const vtpm = 'c476f1eb-0123-45a5-9641-b4e7dde5bfe3';
const measurements = [{ digest: new Uint8Array(48) }];
const boot = { references: [{ pcrs: { 4: new Uint8Array(32) } }] };

const rules = (init: MessageInitShape<typeof SnpRulesSchema>) =>
  snpRulesOf(create(SnpRulesSchema, init), 'snp');
const level = (init: MessageInitShape<typeof SnpLevelSchema>) =>
  snpLevelOf(create(SnpLevelSchema, init), 'level');
const svsm = (init: MessageInitShape<typeof SvsmRulesSchema>) =>
  svsmRulesOf(create(SvsmRulesSchema, init), 'svsm');

/** Code and field of a refusal. */
async function fault(read: () => unknown): Promise<string> {
  const code = await refusalOf(read);
  try {
    read();
  } catch (error) {
    return `${code} ${(error as { field?: string }).field}`;
  }
  return code;
}

describe('rules for SEV-SNP (proto/cvmp/v1/policy.proto)', () => {
  it('has what is said', () => {
    const asked = rules({
      measurements,
      productsDeny: ['Milan'],
      allowNoAliasCheck: true,
      guestAbiMin: { major: 1, minor: 55 },
      idBlocks: [encodeIdBlock(block)],
      requireCrl: true,
      crlAgeSecondsMax: 86_400,
    });
    expect(asked).toMatchObject({
      productsDeny: ['Milan'],
      allowNoAliasCheck: true,
      guestAbiMin: { major: 1, minor: 55 },
      idBlocks: [block],
      requireCrl: true,
      crlAgeSecondsMax: 86_400,
    });
  });

  it.each<[string, MessageInitShape<typeof SnpRulesSchema>]>([
    ['INVALID_FIELD snp.products_deny[1]', { productsDeny: ['Milan', 'milan'] }],
    ['INVALID_FIELD snp.id_blocks[0]', { idBlocks: [new Uint8Array(96)] }],
    ['POLICY_INVALID snp.platform_info_value', { platformInfoValue: 1n }],
  ])('%s', async (expected, init) => {
    expect(await fault(() => rules({ measurements, ...init }))).toBe(expected);
  });

  it('a level may have floors of its own for COMMITTED and LAUNCH, and for the firmware', () => {
    const asked = level({
      tcbMin: [{ product: 'Genoa', tcb: { snp: 20 }, committed: { snp: 22 }, launch: { tee: 1 } }],
      firmwareMin: { major: 1, minor: 55, build: 40 },
    });
    const none = { fmc: 0, bootloader: 0, tee: 0, snp: 0, microcode: 0 };
    expect(asked.tcbMin).toEqual([
      {
        product: 'Genoa',
        tcb: { ...none, snp: 20 },
        committed: { ...none, snp: 22 },
        launch: { ...none, tee: 1 },
      },
    ]);
    expect(asked.firmwareMin).toEqual({ major: 1, minor: 55, build: 40 });
  });
});

describe('rules for evidence by an SVSM', () => {
  it('has what is said; the boot may be left out', () => {
    const asked = svsm({ hardware: { measurements }, services: [vtpm] });
    expect(asked).toMatchObject({ services: [vtpm], hardware: { vmpl: 0 } });
    expect(asked.boot).toBeUndefined();
    expect(svsm({ hardware: { measurements }, boot }).boot?.references).toHaveLength(1);
  });

  it('another VMPL than 0 would be a rule that nothing meets', async () => {
    expect(await fault(() => svsm({ hardware: { measurements, vmpl: 2 } }))).toBe(
      'POLICY_INVALID svsm.hardware.vmpl',
    );
  });

  it('faults of the hardware rules are named with their place', async () => {
    expect(await fault(() => svsm({ hardware: { measurements, products: ['Rome'] } }))).toBe(
      'INVALID_FIELD svsm.hardware.products[0]',
    );
  });

  it('a level without boot does not look at it', () => {
    const read = (init: MessageInitShape<typeof SvsmLevelSchema>) =>
      svsmLevelOf(create(SvsmLevelSchema, init), 'level');
    expect(read({}).boot).toBeUndefined();
    expect(read({ boot: {} }).boot).toMatchObject({ imageSvnMin: 0 });
    expect(read({ hardware: { guestSvnMin: 3 } }).hardware.guestSvnMin).toBe(3);
  });
});
