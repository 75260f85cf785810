import { beforeAll, describe, expect, it } from 'vitest';
import { appraise, deny } from '#core/snp/appraise.js';
import type { SnpClaims } from '#core/snp/claims.js';
import { guestPolicyBits, platformInfoBits } from '#core/snp/layout.js';
import type { SnpRules } from '#core/snp/rules.js';
import { bytes, claims, makeClaims, names, policyBits, rules } from './made.js';

beforeAll(makeClaims);

describe('what no policy can allow (protocol.md s.0.7)', () => {
  it('DEBUG is refused', () => {
    expect(names(deny(claims(policyBits(guestPolicyBits.DEBUG))))).toEqual([
      'snp.guest-policy.debug POLICY_DEBUG',
    ]);
    expect(deny(claims())).toEqual([]);
  });
});

/** What a report shows of an author key. */
const authorKey = (digest: Uint8Array, authorKeyEn: boolean) => ({
  report: { authorKeyDigest: digest, keyInfo: { ...claims().report.keyInfo, authorKeyEn } },
});

describe('rules of a policy (protocol.md s.2.1, s.6.8)', () => {
  type Row = [why: string, failed: string[], () => [SnpClaims, SnpRules]];
  const table: Row[] = [
    ['the defaults and an admitted measurement', [], () => [claims(), rules()]],
    [
      'no measurement admits nothing',
      ['snp.measurement POLICY_MEASUREMENT'],
      () => [claims(), rules({ measurements: [] })],
    ],
    [
      'another measurement',
      ['snp.measurement POLICY_MEASUREMENT'],
      () => [claims({ report: { measurement: bytes(48) } }), rules()],
    ],
    [
      'VMPL 1 where 0 is asked',
      ['snp.vmpl POLICY_VMPL'],
      () => [claims({ report: { vmpl: 1 } }), rules()],
    ],
    ['VMPL 0 where 2 is asked', ['snp.vmpl POLICY_VMPL'], () => [claims(), rules({ vmpl: 2 })]],
    ['VMPL 2 where 2 is asked', [], () => [claims({ report: { vmpl: 2 } }), rules({ vmpl: 2 })]],
    ['Milan by default', ['snp.product POLICY_CHIP'], () => [claims({}, 'Milan'), rules()]],
    ['Milan by name', [], () => [claims({}, 'Milan'), rules({ products: ['Milan'] })]],
    [
      'Milan by chip',
      [],
      () => [claims({}, 'Milan'), rules({ chipAllow: [claims({}, 'Milan').report.chipId] })],
    ],
    ['Turin by default', [], () => [claims({}, 'Turin'), rules()]],
    [
      'a product that is not named',
      ['snp.product POLICY_CHIP'],
      () => [claims(), rules({ products: ['Turin', 'Milan'] })],
    ],
    [
      'a product that is refused',
      ['snp.product-deny POLICY_CHIP'],
      () => [claims(), rules({ productsDeny: ['Turin', 'Genoa'] })],
    ],
    [
      'a product that is refused although it is admitted',
      ['snp.product-deny POLICY_CHIP'],
      () => [claims(), rules({ products: ['Genoa'], productsDeny: ['Genoa'] })],
    ],
    ['another product is refused', [], () => [claims(), rules({ productsDeny: ['Milan'] })]],
    [
      'a chip that is admitted',
      [],
      () => [claims(), rules({ chipAllow: [bytes(64), claims().report.chipId] })],
    ],
    [
      'a chip that is not admitted',
      ['snp.chip-allow POLICY_CHIP'],
      () => [claims(), rules({ chipAllow: [bytes(64)] })],
    ],
    [
      '8 bytes admit a Turin',
      [],
      () => [
        claims({}, 'Turin'),
        rules({ chipAllow: [claims({}, 'Turin').report.chipId.slice(0, 8)] }),
      ],
    ],
    [
      '8 bytes are no prefix of a Genoa',
      ['snp.chip-allow POLICY_CHIP'],
      () => [claims(), rules({ chipAllow: [claims().report.chipId.slice(0, 8)] })],
    ],
    [
      'a hidden chip is not admitted by zeros',
      ['snp.chip-allow POLICY_CHIP'],
      () => [
        claims({ report: { chipId: bytes(64, 0) } }),
        rules({ chipAllow: [bytes(64, 0), bytes(8, 0)] }),
      ],
    ],
    [
      'a chip that is refused',
      ['snp.chip-deny POLICY_CHIP'],
      () => [claims(), rules({ chipDeny: [claims().report.chipId] })],
    ],
    ['another chip is refused', [], () => [claims(), rules({ chipDeny: [bytes(64)] })]],
    [
      'a hidden chip while some are refused',
      ['snp.chip-deny POLICY_CHIP'],
      () => [claims({ report: { chipId: bytes(64, 0) } }), rules({ chipDeny: [bytes(64)] })],
    ],
    [
      'guest policy under its mask',
      [],
      () => [
        claims(policyBits(guestPolicyBits.SINGLE_SOCKET)),
        rules({
          guestPolicyMask: guestPolicyBits.SINGLE_SOCKET,
          guestPolicyValue: guestPolicyBits.SINGLE_SOCKET,
        }),
      ],
    ],
    [
      'an ABI version under the mask',
      ['snp.guest-policy POLICY_GUEST'],
      () => [claims(), rules({ guestPolicyMask: 0xffffn, guestPolicyValue: 0x0137n })],
    ],
    [
      'a guest that older firmware may launch',
      ['snp.guest-abi POLICY_GUEST'],
      () => [claims(policyBits(0x0137n)), rules({ guestAbiMin: { major: 1, minor: 56 } })],
    ],
    [
      'a guest of an older major version',
      ['snp.guest-abi POLICY_GUEST'],
      () => [claims(policyBits(0x00ffn)), rules({ guestAbiMin: { major: 1, minor: 0 } })],
    ],
    [
      'a guest that asks for newer firmware',
      [],
      () => [claims(policyBits(0x0200n)), rules({ guestAbiMin: { major: 1, minor: 55 } })],
    ],
    [
      'a guest that asks for just this firmware',
      [],
      () => [claims(policyBits(0x0137n)), rules({ guestAbiMin: { major: 1, minor: 55 } })],
    ],
    [
      'value bits outside of the mask count for nothing',
      [],
      () => [claims(), rules({ guestPolicyValue: guestPolicyBits.SINGLE_SOCKET })],
    ],
    [
      'memory aliases not checked',
      ['snp.alias-check POLICY_GUEST'],
      () => [claims({ report: { platformInfo: platformInfoBits.SMT_EN } }), rules()],
    ],
    [
      'memory aliases not checked, whatever else is asked',
      ['snp.alias-check POLICY_GUEST'],
      () => [
        claims({ report: { platformInfo: platformInfoBits.SMT_EN } }),
        rules({
          platformInfoMask: platformInfoBits.SMT_EN,
          platformInfoValue: platformInfoBits.SMT_EN,
        }),
      ],
    ],
    [
      'memory aliases not checked where that is admitted',
      [],
      () => [claims({ report: { platformInfo: 0n } }), rules({ allowNoAliasCheck: true })],
    ],
    [
      'a bit of PLATFORM_INFO that has no name',
      ['snp.platform-info POLICY_GUEST'],
      () => [claims(), rules({ platformInfoMask: 1n << 9n, platformInfoValue: 1n << 9n })],
    ],
    [
      'a VLEK',
      ['snp.csp POLICY_CHIP'],
      () => [claims({ signingKey: 'VLEK', cspId: 'CN=x' }), rules()],
    ],
    [
      'the VLEK of an admitted provider',
      [],
      () => [claims({ signingKey: 'VLEK', cspId: 'CN=x' }), rules({ cspIds: ['CN=x'] })],
    ],
    [
      'the VLEK of a provider with a longer name',
      ['snp.csp POLICY_CHIP'],
      () => [claims({ signingKey: 'VLEK', cspId: 'CN=xy' }), rules({ cspIds: ['CN=x'] })],
    ],
    [
      'report version 2',
      ['snp.report-version POLICY_GUEST'],
      () => [claims({ report: { version: 2 } }), rules()],
    ],
    [
      'report version 2 that is admitted',
      [],
      () => [claims({ report: { version: 2 } }), rules({ allowReportV2: true })],
    ],
    [
      'MIGRATE_MA',
      ['snp.migration-agent POLICY_MIGRATION'],
      () => [claims(policyBits(guestPolicyBits.MIGRATE_MA)), rules()],
    ],
    [
      'MIGRATE_MA with agents, none bound',
      ['snp.migration-agent POLICY_MIGRATION'],
      () => [
        claims(policyBits(guestPolicyBits.MIGRATE_MA)),
        rules({ migrationAgents: [bytes(32)] }),
      ],
    ],
    [
      'an admitted migration agent',
      [],
      () => [
        claims({ report: { guestPolicy: 0x70000n, reportIdMa: bytes(32) } }),
        rules({ migrationAgents: [bytes(32)] }),
      ],
    ],
    [
      'another migration agent',
      ['snp.migration-agent POLICY_MIGRATION'],
      () => [
        claims({ report: { guestPolicy: 0x70000n, reportIdMa: bytes(32, 2) } }),
        rules({ migrationAgents: [bytes(32)] }),
      ],
    ],
    [
      'a migration agent although MIGRATE_MA is off',
      ['snp.migration-agent POLICY_MIGRATION'],
      () => [claims({ report: { reportIdMa: bytes(32, 2) } }), rules()],
    ],
    ['agents admitted, none needed', [], () => [claims(), rules({ migrationAgents: [bytes(32)] })]],
    [
      'no ID block where one is asked',
      ['snp.id-key POLICY_GUEST'],
      () => [claims(), rules({ idKeyDigests: [bytes(48)] })],
    ],
    [
      'an admitted ID key',
      [],
      () => [
        claims({ report: { idKeyDigest: bytes(48) } }),
        rules({ idKeyDigests: [bytes(48, 2), bytes(48)] }),
      ],
    ],
    [
      'an admitted author key',
      [],
      () => [
        claims(authorKey(bytes(48), true)),
        rules({ authorKeyDigests: [bytes(48, 2), bytes(48)] }),
      ],
    ],
    [
      'an author key that is not admitted',
      ['snp.author-key POLICY_GUEST'],
      () => [claims(authorKey(bytes(48), true)), rules({ authorKeyDigests: [bytes(48, 2)] })],
    ],
    [
      'an admitted author key while AUTHOR_KEY_EN is off',
      ['snp.author-key POLICY_GUEST'],
      () => [claims(authorKey(bytes(48), false)), rules({ authorKeyDigests: [bytes(48)] })],
    ],
    [
      'zeros as an admitted author key',
      ['snp.author-key POLICY_GUEST'],
      () => [claims(), rules({ authorKeyDigests: [bytes(48, 0)] })],
    ],
    [
      'another FAMILY_ID',
      ['snp.family-id POLICY_GUEST'],
      () => [claims(), rules({ familyId: bytes(16) })],
    ],
    [
      'the FAMILY_ID asked',
      [],
      () => [claims({ report: { familyId: bytes(16) } }), rules({ familyId: bytes(16) })],
    ],
    [
      'another IMAGE_ID',
      ['snp.image-id POLICY_GUEST'],
      () => [claims(), rules({ imageId: bytes(16) })],
    ],
    [
      'the IMAGE_ID asked',
      [],
      () => [claims({ report: { imageId: bytes(16) } }), rules({ imageId: bytes(16) })],
    ],
    [
      'microcode that can be rolled back',
      ['snp.provisional-firmware POLICY_TCB'],
      () => [claims({ currentTcb: { ...claims().currentTcb, microcode: 255 } }), rules()],
    ],
    [
      'firmware that can be rolled back',
      ['snp.provisional-firmware POLICY_TCB'],
      () => [claims({ report: { currentFirmware: { major: 1, minor: 99, build: 0 } } }), rules()],
    ],
    [
      'the same where it is admitted',
      [],
      () => [
        claims({ report: { currentFirmware: { major: 1, minor: 99, build: 0 } } }),
        rules({ allowProvisionalFirmware: true }),
      ],
    ],
  ];
  it.each(table)('%s: %j', (_, failed, make) => {
    expect(names(appraise(...make()))).toEqual(failed);
  });

  it('all failures are listed, in the order of the rules', () => {
    const wrong = claims({ report: { measurement: bytes(48), vmpl: 3, version: 2 } });
    expect(appraise(wrong, rules({ products: ['Turin'] })).map(({ code }) => code)).toEqual([
      'POLICY_MEASUREMENT',
      'POLICY_VMPL',
      'POLICY_CHIP',
      'POLICY_GUEST',
    ]);
  });

  it('every failure says what was found', () => {
    const [failure] = appraise(claims({ report: { vmpl: 3 } }), rules());
    expect(failure!.message).toBe('VMPL is 3, not 0');
  });
});
