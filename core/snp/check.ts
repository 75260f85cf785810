import { equalBytes, toHex } from '../bytes.js';
import type { ErrorCode } from '../errors.js';
import type { FailedCheck } from '../rats/attestation-result.js';
import type { SnpClaims } from './claims.js';

/** One check of verified claims: says what is wrong, or nothing. */
export interface Check<Asked> {
  /** Stable name, without the format. */
  readonly name: string;
  readonly code: ErrorCode;
  readonly fault: (claims: SnpClaims, asked: Asked) => string | undefined;
}

/** What fails, in the order of the checks. */
export function failed<Asked>(
  checks: readonly Check<Asked>[],
  claims: SnpClaims,
  asked: Asked,
): readonly FailedCheck[] {
  return checks.flatMap(({ name, code, fault }) => {
    const message = fault(claims, asked);
    return message === undefined ? [] : [{ code, check: `snp.${name}`, message }];
  });
}

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
