import { CvmpError } from '#core/errors.js';
import { type Access, type AccessChange, changeOf, reasonsOf } from '#core/keying/access.js';
import { checkValidity, effectiveFloor } from '#core/keying/rules.js';
import type { FailedCheck } from '#core/rats/attestation-result.js';
import type { LiveSession, NoticeBoard } from '../notices.js';
import type { KeyInfo, Keys, SessionGrant, StoredPolicy, TriedOut } from '../release/contract.js';

/** Sessions and keys that are looked at; some seconds of work, with others in between. */
const sessionsMax = 10_000;
const keysMax = 100_000;
/** Those that are named in the answer; the others are counted. */
const namedMax = 256;
const atOnce = 64;
const pageSize = 500;

/** A session that is open, and what the version would change for it. */
export interface AgentImpact {
  readonly cvmName: string;
  readonly evidenceDigest: Uint8Array;
  readonly change: AccessChange;
  readonly levelBefore: number;
  readonly levelAfter: number;
  /** What stands against it afterwards; where it gains, what stood against it before. */
  readonly reasons: readonly FailedCheck[];
  /** Keys that it named. */
  readonly keyIds: readonly string[];
}

/** A key, and what the version would change for whoever asks for it. */
export interface KeyImpact {
  readonly keyId: Uint8Array;
  readonly cvmName: string;
  /** Whether the CVM that allocated it can still have it, whatever it proves. */
  readonly change: 'loses' | 'gains' | 'floor raised';
  readonly floorBefore: number;
  readonly floorAfter: number;
}

/** Who gains and who loses. */
export interface PolicyImpact {
  /** Those for whom something changes, those who lose first. */
  readonly agents: readonly AgentImpact[];
  readonly agentsTested: number;
  readonly agentsLosing: number;
  readonly agentsGaining: number;
  readonly keys: readonly KeyImpact[];
  readonly keysTested: number;
  readonly keysLosing: number;
  readonly keysRaised: number;
  /** There are more sessions or keys than were looked at. */
  readonly partial: boolean;
}

interface ImpactParts {
  readonly notices: Pick<NoticeBoard, 'of'>;
  readonly keys: Pick<Keys, 'list'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * What a version would change before it is set: the verified claims of open sessions are appraised
 * by both policies, and existing keys are held against both. Bounded, and it lets others have their
 * turn; the answer names at most 256 of each.
 */
export async function impactOf(
  tenantId: string,
  tried: TriedOut,
  parts: ImpactParts,
): Promise<PolicyImpact> {
  const sessions = parts.notices.of(tenantId);
  const agents = await agentImpacts(sessions.slice(0, sessionsMax), tried, parts.now());
  const { impacts: keys, tested, partial } = await keyImpacts(tenantId, tried, parts.keys);
  const count = (list: readonly { change: string }[], change: string) =>
    list.filter((one) => one.change === change).length;
  return {
    agents: sorted(agents).slice(0, namedMax),
    agentsTested: Math.min(sessions.length, sessionsMax),
    agentsLosing: count(agents, 'loses'),
    agentsGaining: count(agents, 'gains'),
    keys: sorted(keys).slice(0, namedMax),
    keysTested: tested,
    keysLosing: count(keys, 'loses'),
    keysRaised: count(keys, 'floor raised'),
    partial: partial || sessions.length > sessionsMax,
  };
}

async function agentImpacts(
  sessions: readonly LiveSession[],
  { before, after }: TriedOut,
  now: number,
): Promise<readonly AgentImpact[]> {
  const impacts: AgentImpact[] = [];
  for (const [i, { grant, keys }] of sessions.entries()) {
    if (i % atOnce === atOnce - 1) await turn();
    const [was, will] = [before, after].map((policies) =>
      accessUnder(policies.covering(grant.cvmName), grant, now),
    ) as [Access, Access];
    const change = changeOf(was, will);
    if (change === 'same' || change === 'no access') continue;
    impacts.push({
      cvmName: grant.cvmName,
      evidenceDigest: grant.evidenceDigest,
      change,
      levelBefore: was.level,
      levelAfter: will.level,
      reasons: reasonsOf(change === 'gains' ? was : will),
      keyIds: [...keys],
    });
  }
  return impacts;
}

function accessUnder(stored: StoredPolicy | undefined, grant: SessionGrant, now: number): Access {
  if (stored === undefined) {
    return { level: 0, svnFloor: 0, failures: [], code: 'NO_POLICY' };
  }
  const { svnFloor } = stored.policy;
  try {
    checkValidity(stored.policy, now);
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { level: 0, svnFloor, failures: [], code: error.code };
  }
  return { ...grant.appraise(stored), svnFloor, code: undefined };
}

async function keyImpacts(
  tenantId: string,
  tried: TriedOut,
  keys: Pick<Keys, 'list'>,
): Promise<{ impacts: readonly KeyImpact[]; tested: number; partial: boolean }> {
  const impacts: KeyImpact[] = [];
  let tested = 0;
  let pageToken = '';
  do {
    const page = await keys.list(tenantId, { pageSize, pageToken });
    tested += page.items.length;
    impacts.push(...page.items.flatMap((key) => keyImpact(key, tried) ?? []));
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && tested < keysMax);
  return { impacts, tested, partial: pageToken !== '' };
}

/** A key belongs to the policy that it was allocated under; another one that covers its CVM takes it. */
function keyImpact(key: KeyInfo, { outcome, before, after }: TriedOut): KeyImpact | undefined {
  if (key.state === 'destroyed') return undefined;
  const { keyId, cvmName, policyId, svnFloor: floorBefore } = key;
  const [had, has] = [before, after].map(
    (policies) => policies.covering(cvmName)?.policy.policyId === policyId,
  );
  const isOwn = outcome.policy.policyId === policyId;
  const floorAfter = isOwn ? effectiveFloor(key, outcome.policy) : floorBefore;
  const impact = { keyId, cvmName, floorBefore, floorAfter };
  if (had !== has) return { ...impact, change: has ? 'gains' : 'loses' };
  return floorAfter > floorBefore ? { ...impact, change: 'floor raised' } : undefined;
}

const order = ['loses', 'floor raised', 'lower level', 'gains', 'higher level'];

function sorted<T extends { readonly change: string; readonly cvmName: string }>(
  impacts: readonly T[],
): readonly T[] {
  const rank = ({ change }: T) => order.indexOf(change);
  return [...impacts].sort(
    (a, b) => rank(a) - rank(b) || (a.cvmName < b.cvmName ? -1 : Number(a.cvmName > b.cvmName)),
  );
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** As the answer carries it. */
export function impactMessage(impact: PolicyImpact) {
  const { agents, keys, ...counts } = impact;
  return {
    ...counts,
    agents: agents.map(({ keyIds, reasons, ...agent }) => ({
      ...agent,
      keyIds: keyIds.map((id) => Buffer.from(id, 'hex')),
      failedChecks: reasons.map(({ code, check, message }) => ({
        code,
        message: `${check}: ${message}`,
      })),
    })),
    keys: [...keys],
  };
}
