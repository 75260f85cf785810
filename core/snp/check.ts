import { equalBytes, toHex } from '../bytes.js';
import type { Check as AnyCheck } from '../rats/checks.js';
import type { SnpClaims } from './claims.js';

/** One check of a verified report. */
export type Check<Asked> = AnyCheck<SnpClaims, Asked>;

/** A word of flags, and which of its bits must have which value. */
interface MaskedWord {
  readonly found: bigint;
  readonly mask: bigint;
  readonly value: bigint;
}

/**
 * One check for each flag of a word, so that a failure names the flag, and one for all bits that are
 * none (of the guest policy: the ABI version).
 * @param flags bits by the ABI's names
 */
export function flagChecks<Asked>(
  name: string,
  flags: Readonly<Record<string, bigint>>,
  word: (claims: SnpClaims, asked: Asked) => MaskedWord,
): readonly Check<Asked>[] {
  const named = Object.values(flags).reduce((all, bit) => all | bit, 0n);
  const ofFlags = Object.entries(flags).map(
    ([flag, bit]): Check<Asked> => ({
      name: `${name}.${flag.toLowerCase().replaceAll('_', '-')}`,
      code: 'POLICY_GUEST',
      fault: (claims, asked) => {
        const { found, mask, value } = word(claims, asked);
        if ((mask & bit & (found ^ value)) === 0n) return undefined;
        return `${flag} is ${found & bit ? 'set' : 'not set'}`;
      },
    }),
  );
  const ofRest: Check<Asked> = {
    name,
    code: 'POLICY_GUEST',
    fault: (claims, asked) => {
      const { found, mask, value } = word(claims, asked);
      if ((mask & ~named & (found ^ value)) === 0n) return undefined;
      const [f, v, m] = [found, value & mask, mask].map((n) => `0x${n.toString(16)}`);
      return `${name} is ${f}, not ${v} under mask ${m}`;
    },
  };
  return [...ofFlags, ofRest];
}

/** Fault of a value that is none of those admitted; where none is named, any is. */
export function unlisted(
  what: string,
  found: Uint8Array,
  admitted: readonly Uint8Array[],
): string | undefined {
  if (admitted.length === 0 || admitted.some((one) => equalBytes(one, found))) return undefined;
  return `${what} ${toHex(found)} is not among ${admitted.length} admitted`;
}

/** Fault of a value that is another than asked, where one is asked. */
export function unequal(
  what: string,
  found: Uint8Array,
  asked: Uint8Array | undefined,
): string | undefined {
  if (asked === undefined || equalBytes(found, asked)) return undefined;
  return `${what} is ${toHex(found)}, not ${toHex(asked)}`;
}
