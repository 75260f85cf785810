import { expect, it } from 'vitest';
import { wentBack } from '#core/rats/claims.js';

const counts = (resets: number, restarts: number) => ({
  signer: new Uint8Array(32),
  resets,
  restarts,
});
const last = 0xffff_ffff;

it.each<[string, boolean, [number, number], [number, number]]>([
  ['the same', false, [5, 2], [5, 2]],
  ['a restart more', false, [5, 2], [5, 3]],
  ['a reset more, which begins the restarts anew', false, [5, 2], [6, 0]],
  ['a reset less', true, [5, 2], [4, 9]],
  ['a restart less', true, [5, 2], [5, 1]],
  // The number that a TPM adds for the AK may bring them to the end of 32 bits.
  ['a reset more, around the end', false, [last, 2], [0, 2]],
  ['a reset less, around the end', true, [0, 2], [last, 2]],
  ['a restart more, around the end', false, [5, last], [5, 1]],
  ['a restart less, around the end', true, [5, 1], [5, last]],
])('counts of a TPM (TPM 2.0 Part 1 s.36.7): %s went back: %s', (_, isBack, before, now) => {
  expect(wentBack(counts(...before), counts(...now))).toBe(isBack);
});
