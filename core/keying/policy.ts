import type { QuorumRule } from '../cose/quorum.js';

/** A Keying Policy: who may obtain keys, and at which SVN (protocol.md s.6.3, s.6.4). */

/** What a Security Key is for; part of its derivation. */
export type KeyPurpose = 'disk' | 'data';

/** Rules by evidence format ("snp"); only the format's own room reads a rule. */
export type RulesByFormat = ReadonlyMap<string, unknown>;

/** What evidence must show at every level. A format without rules is not admitted. */
export interface AppraisalRules {
  readonly allowSimulated: boolean;
  /** How the session is bound to its TLS connection; nothing but `required` so far. */
  readonly channelBinding: 'required';
  readonly formats: RulesByFormat;
}

/** Level n holds where the rules of levels 1 to n all hold. */
export interface SvnLevel {
  readonly n: number;
  readonly name: string;
  readonly formats: RulesByFormat;
}

/** What agents may ask for. */
export interface KeyRules {
  readonly purposes: readonly KeyPurpose[];
  /** Keys under this policy, destroyed ones not counted. */
  readonly keysMax: number;
  /** Only the tenant raises floors, by `svnFloor`. */
  readonly tenantOnlyRaises: boolean;
  readonly leaseSeconds: number;
  /** One running instance at a time has a key. */
  readonly singleInstance: boolean;
}

/** Who must sign what is done under a policy; undefined: the tenant's signing key alone. */
export interface Quorums {
  readonly setPolicy: QuorumRule | undefined;
  readonly destroyKey: QuorumRule | undefined;
}

export interface KeyingPolicy {
  readonly tenantId: string;
  readonly policyId: string;
  /** 1 for the first, each next one is one higher. */
  readonly version: number;
  /** SHA-256 of the signed version before (32 bytes); undefined in version 1. */
  readonly prevDigest: Uint8Array | undefined;
  /** Milliseconds since the epoch; undefined: no bound. */
  readonly notBefore: number | undefined;
  readonly notAfter: number | undefined;
  /** Names of CVMs; a trailing `*` stands for any rest. */
  readonly cvmNames: readonly string[];
  readonly appraisal: AppraisalRules;
  /** Levels 1, 2, 3 ... in order. */
  readonly levels: readonly SvnLevel[];
  /** Lowest SVN for new keys and floor of all existing ones. */
  readonly svnFloor: number;
  readonly keyRules: KeyRules;
  /** Sessions that were attested before this version must attest again. */
  readonly reattest: boolean;
  readonly quorums: Quorums;
  /** Between the order to destroy a key and its destruction. */
  readonly destroyDelaySeconds: number;
}
