import { create, equals, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { enumName, fromYaml, toReadable } from '#cli/terminal/readable.js';
import { parseYaml } from '#cli/terminal/yaml-file.js';
import { CvmpError } from '#core/errors.js';
import { TeeType, TeeTypeSchema } from '#gen/cvmp/v1/evidence_pb.js';
import { KeyPurpose } from '#gen/cvmp/v1/key_pb.js';
import { CVMCreateRequestSchema } from '#gen/cvmp/v1/platform_pb.js';
import { ChannelBinding, SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';

const policyOf = (text: string) =>
  fromYaml(SetKeyPolicySchema, parseYaml(text, 'p.yaml', 'INVALID_FIELD'));

function refusal(text: string): string {
  try {
    policyOf(text);
  } catch (error) {
    if (error instanceof CvmpError && error.code === 'INVALID_FIELD') return error.message;
    throw error;
  }
  return 'accepted';
}

describe('a policy as YAML', () => {
  test('every kind of field is read: text, number, 64 bits, bool, bytes, enum, time, list, map', () => {
    const text = `
# comments are welcome
tenant_id: acme
policy_id: web
version: 3
prev_digest: ${'ab'.repeat(32)}
not_before: 2026-11-22T10:00:00Z
cvm_names: [web-*, "db"]
appraisal:
  allow_simulated: true
  channel_binding: required
  snp:
    vmpl: 1
    guest_policy_mask: 0xffffffffffffffff
    chip_allow:
      - 0011223344556677   # all digits, still bytes
    measurements:
      - digest: ${'0c'.repeat(48)}
        image_svn: 2
        name: 1e5
levels:
  - n: 1
    snp: {}
svn_floor: 1
key_rules:
  purposes: [disk, data]
`;
    const expected: MessageInitShape<typeof SetKeyPolicySchema> = {
      tenantId: 'acme',
      policyId: 'web',
      version: 3n,
      prevDigest: new Uint8Array(32).fill(0xab),
      notBefore: timestampFromDate(new Date('2026-11-22T10:00:00Z')),
      cvmNames: ['web-*', 'db'],
      appraisal: {
        allowSimulated: true,
        channelBinding: ChannelBinding.REQUIRED,
        snp: {
          vmpl: 1,
          guestPolicyMask: 0xffffffffffffffffn,
          chipAllow: [new Uint8Array([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77])],
          measurements: [{ digest: new Uint8Array(48).fill(0x0c), imageSvn: 2, name: '1e5' }],
        },
      },
      levels: [{ n: 1, snp: {} }],
      svnFloor: 1,
      keyRules: { purposes: [KeyPurpose.DISK, KeyPurpose.DATA] },
    };
    const message = policyOf(text);
    expect(equals(SetKeyPolicySchema, message, create(SetKeyPolicySchema, expected))).toBe(true);
    const maps = parseYaml('features: {bios: {boot-order: disk}}', 'c.yaml', 'CONFIG');
    expect(fromYaml(CVMCreateRequestSchema, maps).features?.bios).toEqual({ 'boot-order': 'disk' });
  });

  const rows: readonly (readonly [rule: string, yaml: string, message: string])[] = [
    ['an unknown field', 'policy_id: a\npolicyid: b', 'p.yaml:2: policyid: there is no such field'],
    [
      'an unknown field inside a list',
      'levels:\n  - n: 1\n  - n: 2\n    sn: {}',
      'p.yaml:4: levels[1].sn: there is no such field; those here are n, snp, name',
    ],
    ['camelCase', 'policyId: b', 'p.yaml:1: policyId: there is no such field'],
    ['a field given twice', 'policy_id: a\npolicy_id: b', 'p.yaml:2: Map keys must be unique'],
    [
      'a number out of range',
      'svn_floor: 4294967296',
      'svn_floor: must lie between 0 and 4294967295',
    ],
    ['a negative number', 'version: -1', 'version: must lie between 0 and 18446744073709551615'],
    ['a fraction', 'svn_floor: 1.5', 'svn_floor: must be a whole number'],
    ['odd hex digits', 'prev_digest: abc', 'prev_digest: must be bytes in hex'],
    ['base64 for bytes', 'prev_digest: q83v', 'prev_digest: must be bytes in hex'],
    [
      'an unknown enum value',
      'key_rules: {purposes: [disc]}',
      'key_rules.purposes[0]: must be one of disk, data',
    ],
    [
      'the enum name of proto/',
      'key_rules: {purposes: [KEY_PURPOSE_DISK]}',
      'must be one of disk, data',
    ],
    [
      'yes for true',
      'appraisal: {allow_simulated: yes}',
      'appraisal.allow_simulated: must be true or false',
    ],
    ['a date without time', 'not_after: 2027-01-31', 'not_after: must be a time such as'],
    ['an impossible date', 'not_after: 2027-13-31T00:00:00Z', 'not_after: must be a time such as'],
    ['a list for a value', 'policy_id: [a]', 'policy_id: must be a single value'],
    ['a value for a list', 'cvm_names: web', 'cvm_names: must be a list'],
    ['a value for a message', 'appraisal: yes', 'appraisal: must be a map of fields'],
    ['a field without value', 'not_after:', 'not_after: must be a time such as'],
    ['a list at the top', '- a', 'must be a map of fields'],
    ['an anchor used', 'policy_id: &a web\ntenant_id: *a', 'p.yaml'],
    ['not YAML', 'policy_id: "a', 'p.yaml:1'],
    ['two documents', 'policy_id: a\n---\npolicy_id: b', 'p.yaml'],
    ['nothing', '', 'has no value'],
  ];
  test.each(rows)('%s is refused with line and path', (_, yaml, message) => {
    expect(refusal(yaml)).toContain(message);
  });

  test('what toReadable writes, fromYaml reads back (property)', () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    const policies = fc.record({
      tenantId: fc.constantFrom('acme', '0'),
      version: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      prevDigest: bytes(32),
      cvmNames: fc.array(fc.stringMatching(/^[a-z0-9-]{1,8}$/)),
      appraisal: fc.record({
        allowSimulated: fc.boolean(),
        snp: fc.record({
          vmpl: fc.nat(3),
          chipAllow: fc.array(bytes(8)),
          guestPolicyMask: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          measurements: fc.array(
            fc.record({ digest: bytes(48), name: fc.string({ minLength: 1 }) }),
          ),
        }),
      }),
    });
    fc.assert(
      fc.property(policies, fc.boolean(), (init, zeros) => {
        const message = create(SetKeyPolicySchema, init);
        const text = stringify(toReadable(SetKeyPolicySchema, message, zeros), {
          defaultStringType: 'QUOTE_DOUBLE',
          lineWidth: 0,
        });
        expect(equals(SetKeyPolicySchema, policyOf(text), message)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});

describe('messages for people and scripts', () => {
  test('enum values have short names', () => {
    expect(enumName(TeeTypeSchema, TeeType.SEV_SNP)).toBe('sev-snp');
    expect(enumName(TeeTypeSchema, TeeType.UNSPECIFIED)).toBe('unspecified');
    expect(enumName(TeeTypeSchema, 99)).toBe('99');
  });

  test('zeros are there for scripts and left out for people', () => {
    const message = create(SetKeyPolicySchema, { policyId: 'web' });
    expect(toReadable(SetKeyPolicySchema, message, false)).toEqual({ policy_id: 'web' });
    expect(toReadable(SetKeyPolicySchema, message)).toMatchObject({
      policy_id: 'web',
      version: 0n,
      prev_digest: '',
      cvm_names: [],
      svn_floor: 0,
    });
  });
});
