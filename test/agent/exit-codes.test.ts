import { expect, test } from 'vitest';
import { exitCode } from '#agent/exit-codes.js';
import { type ErrorCode, errorTable } from '#core/errors.js';

test.each<[ErrorCode, number]>([
  ['USAGE', 2],
  ['CONFIG', 2],
  ['POLICY_MEASUREMENT', 10],
  ['SVN_BELOW_FLOOR', 10],
  ['NOT_FOUND', 10],
  ['BINDING_MISMATCH', 10],
  ['SERVER_UNTRUSTED', 11],
  ['KCV_MISMATCH', 11],
  ['CONFIG_MISMATCH', 12],
  ['DISK', 13],
  ['HEADER_REFUSED', 13],
  ['TSM_UNAVAILABLE', 14],
  ['TSM_BUSY', 14],
  ['TPM_UNAVAILABLE', 14],
  ['UNAVAILABLE', 15],
  ['DELIVERY', 16],
  ['CANCELLED', 17],
  ['INTERNAL', 1],
])('an agent that ends with %s exits %i', (code, expected) => {
  expect(exitCode(code)).toBe(expected);
});

test('no error looks like success', () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) expect(exitCode(code)).not.toBe(0);
});
