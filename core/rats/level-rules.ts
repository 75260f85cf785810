/**
 * What keying asks about the level rules of one evidence format (protocol.md s.6.4); the format's
 * room implements it. Pure. Paths name fields as proto/cvmp/v1/policy.proto does ("guest_svn_min").
 */
export interface LevelRules<Rule, Rules = unknown> {
  /** Path of the first field that `higher` states and that is weaker than in `lower`, if any. */
  decreasing(lower: Rule, higher: Rule): string | undefined;
  /**
   * Both lists are the rules of levels 1 to n, which all must hold.
   * @returns path of the first field in which `next` taken together is laxer than `previous`
   */
  relaxed(previous: readonly Rule[], next: readonly Rule[]): string | undefined;
  /**
   * Whether a reference value that both rules admit is of a higher image SVN in `next`: levels ask
   * for image SVNs, so that would relax them. Absent: the format's rules say nothing of SVNs.
   * @returns path of the first one
   */
  promoted?(previous: Rules, next: Rules): string | undefined;
}
