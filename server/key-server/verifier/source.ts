import { CvmpError } from '#core/errors.js';
import {
  type EndorsementNeed,
  type Endorsements,
  joinEndorsements,
  type VendorStatement,
} from '#core/rats/endorsements.js';

/** What came of asking for one statement. */
export type Obtained =
  | { readonly outcome: 'held'; readonly endorsements: Endorsements }
  /** There is none, and nobody to ask. */
  | { readonly outcome: 'absent' }
  /** There is none to be used: the vendor could not be asked, or what is held is out of date. */
  | { readonly outcome: 'failed'; readonly error: CvmpError };

/** Where the Verifier gets statements of vendors from. */
export interface EndorsementSource {
  /** Never takes longer than the time bound of the source; never throws for a vendor's fault. */
  obtain(statement: VendorStatement): Promise<Obtained>;
}

/** Nothing is held and nobody is asked. */
export const noSource: EndorsementSource = { obtain: async () => ({ outcome: 'absent' }) };

/** Whether evidence under a vendor's root is judged without that root's revocation list. */
export type Revocation = 'required' | 'when_held';

/**
 * Gets what evidence needs. What is missing is left to the scheme to refuse, unless asking again can
 * help, or the configuration demands it.
 * @throws CvmpError ENDORSEMENT_UNAVAILABLE, ENDORSEMENT_INVALID, COLLATERAL_STALE
 */
export async function obtainAll(
  source: EndorsementSource,
  needs: readonly EndorsementNeed[],
  revocation: Revocation,
  held: Endorsements,
): Promise<Endorsements> {
  // What came along is not asked for again; but for what goes out of date, where newer is better.
  const wanted = needs.filter(({ statement, isCarried }) => !isCarried || ages(statement));
  const answers = await Promise.all(
    wanted.map(async (need) => ({ need, got: await source.obtain(need.statement) })),
  );
  // A chain without the key that it is of would be taken for one that lacks its end.
  const hasNoKey = answers.some(
    ({ need, got }) => need.statement.kind === 'amd-vcek' && got.outcome === 'absent',
  );
  let all = held;
  for (const { need, got } of answers) {
    if (hasNoKey && need.statement.kind === 'amd-chain') continue;
    if (got.outcome === 'held') all = joinEndorsements(all, got.endorsements);
    else if (!need.isCarried) requireAbsence(need.statement, got, revocation);
  }
  return all;
}

/** Whether a statement is one that its vendor renews. */
export function ages({ kind }: VendorStatement): boolean {
  return kind !== 'amd-vcek' && kind !== 'amd-chain';
}

/** Stops a stale or unreachable list from being no list: revocation would end where it matters. */
function requireAbsence(
  statement: VendorStatement,
  got: Exclude<Obtained, { outcome: 'held' }>,
  revocation: Revocation,
): void {
  const isOptional = statement.kind === 'amd-crl' && revocation === 'when_held';
  if (got.outcome === 'failed') {
    if (isOptional && got.error.code === 'ENDORSEMENT_UNAVAILABLE') return;
    throw got.error;
  }
  if (statement.kind !== 'amd-crl' || isOptional) return;
  const message = `no revocation list of ARK-${statement.product} is held`;
  throw new CvmpError('COLLATERAL_STALE', message, { field: 'crl' });
}
