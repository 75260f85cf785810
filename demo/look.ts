import type { Actor, CommandResult } from './stage.js';
import type { Findings } from './story.js';

/** Fields of a key that the story looks at (`cvmp key list`). */
export interface KeySeen {
  readonly key_id: string;
  readonly state: string;
  readonly svn_floor: number;
  readonly svn_retired: number;
  readonly cvm_name: string;
}

/** Fields of an audit record that the story looks at (`cvmp audit list`). */
export interface AuditSeen {
  readonly index: string;
  readonly operation: string;
  readonly granted: boolean;
  readonly code: string;
  readonly cvm_name: string;
  readonly key_id: string;
  readonly svn: number;
  readonly level: number;
  readonly failed_checks: readonly { readonly code: string }[];
}

/** Fields of a CVM that the story looks at. */
export interface CvmSeen {
  readonly cvm_id: string;
  readonly name: string;
  readonly state: string;
  readonly predicted_measurement: string;
  readonly agent: {
    readonly phase: string;
    readonly code: string;
    readonly key_id: string;
    readonly svn: number;
    readonly svn_floor: number;
    readonly level: number;
    readonly disk_action: string;
  };
}

/** Keys of a tenant, as the Key Server has them now. */
export async function keysOf(actor: Actor): Promise<readonly KeySeen[]> {
  return (await done(actor, 'key list')).json.keys;
}

/** Number of the newest audit record; what is decided after it has a higher one. */
export async function auditMark(actor: Actor): Promise<number> {
  const { entries } = (await done(actor, 'audit list --limit 1')).json;
  return entries.length === 0 ? 0 : Number(entries[0].index);
}

/** Audit records about a CVM after a mark, oldest first. */
export async function auditSince(
  actor: Actor,
  mark: number,
  cvmName: string,
): Promise<readonly AuditSeen[]> {
  const entries: readonly AuditSeen[] = (await done(actor, 'audit list --limit 200')).json.entries;
  const fresh = entries.filter((e) => Number(e.index) > mark && e.cvm_name === cvmName);
  return [...fresh].reverse();
}

/** A command that must do what it says. @throws Error where it does not */
export async function done(actor: Actor, commandLine: string): Promise<CommandResult> {
  const result = await actor.cvmp(commandLine);
  if (result.code === 0) return result;
  throw new Error(`cvmp ${commandLine}: ${result.stderr.trim()}`);
}

/** Creates or starts a CVM and waits until its Key Agent is delivered or refused. */
export async function boot(
  actor: Actor,
  commandLine: string,
): Promise<{ readonly outcome: string; readonly cvm: CvmSeen }> {
  const { json, stderr } = await actor.cvmp(`${commandLine} --wait --timeout-seconds 30`);
  if (json?.outcome === undefined) throw new Error(`cvmp ${commandLine}: ${stderr.trim()}`);
  return json;
}

/** A boot that must end in a refusal with this code, which the Key Server has on record. */
export async function refusedBoot(
  actor: Actor,
  commandLine: string,
  code: string,
  found: Findings,
): Promise<CvmSeen> {
  const mark = await auditMark(actor);
  const { outcome, cvm } = await boot(actor, commandLine);
  found.expect('outcome of the boot', outcome, 'refused');
  found.expect('code that the Key Agent got', cvm.agent.code, code);
  found.expect('disk', cvm.agent.disk_action || 'untouched', 'untouched');
  const entries = await auditSince(actor, mark, cvm.name);
  const refusal = entries.find((entry) => !entry.granted);
  found.expect('audit record', refusal?.code ?? null, code);
  found.require(
    'no key was released to it',
    !entries.some((e) => e.granted && e.operation.startsWith('key_')),
  );
  return cvm;
}
