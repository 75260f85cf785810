import type { Client } from '@connectrpc/connect';
import { CvmpError } from '#core/errors.js';
import { AgentPhase } from '#gen/cvmp/v1/guest_pb.js';
import { type Cvm, CvmSchema, type CvmService, CvmState } from '#gen/cvmp/v1/platform_pb.js';
import type { CommandContext } from '../command.js';
import type { Output } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';
import { agentText, cvmFields, hasReported } from './cvm-text.js';

/** Options of the commands that start a CVM. */
export const waitOptions = {
  wait: {
    type: 'boolean',
    summary: 'Wait until the Key Agent has the key or is refused; so it is on a terminal.',
  },
  'no-wait': { type: 'boolean', summary: 'Do not wait.' },
  'timeout-seconds': {
    type: 'string',
    value: 'N',
    summary: 'How long to wait at most, in seconds; 120 unless told.',
  },
} as const;

/** Seconds to wait; 0: not at all. @throws CvmpError USAGE */
export function waitSeconds(
  options: {
    readonly wait: boolean;
    readonly 'no-wait': boolean;
    readonly 'timeout-seconds': string | undefined;
  },
  context: CommandContext,
): number {
  if (options.wait && options['no-wait']) {
    throw new CvmpError('USAGE', '--wait and --no-wait exclude each other');
  }
  const range = { min: 1, max: 86_400, otherwise: 120 };
  const seconds = wholeNumber(options['timeout-seconds'], 'timeout-seconds', range);
  const wanted = options.wait || (context.terminal.interactive && !options['no-wait']);
  return wanted ? seconds : 0;
}

/** What the agent's journey came to; undefined while it goes on. */
function outcome(cvm: Cvm): 'delivered' | 'refused' | undefined {
  switch (cvm.agent?.phase) {
    case AgentPhase.DELIVERED:
      return 'delivered';
    case AgentPhase.REFUSED:
    case AgentPhase.FAILED:
      return 'refused';
    default:
      return undefined;
  }
}

/** The platform hears what a guest said last some time after the guest has ended. */
const lastWordsMs = 3_000;

/**
 * Follows a CVM until its Key Agent has delivered the key (exit code 0) or was refused (1), telling
 * each step on stderr.
 * @throws CvmpError UNAVAILABLE after the time given
 */
export async function waitForAgent(
  cvms: Client<typeof CvmService>,
  started: Cvm,
  seconds: number,
  context: CommandContext,
): Promise<Output> {
  const timeout = AbortSignal.timeout(seconds * 1000);
  const ended = new AbortController();
  let lastWords: NodeJS.Timeout | undefined;
  const signal = AbortSignal.any([context.signal, timeout, ended.signal]);
  let seen = started;
  let told = '';
  const result = (end: 'delivered' | 'refused'): Output => ({
    json: { cvm: toReadable(CvmSchema, seen), outcome: end },
    text: cvmFields(seen),
    exitCode: end === 'delivered' ? 0 : 1,
  });
  try {
    const stream = cvms.cVMWatch({ cvm: started.cvmId }, { signal, timeoutMs: 0 });
    for await (const { cvm } of stream) {
      // An event of the boot before is not about this one.
      if (cvm === undefined || cvm.bootCount < started.bootCount) continue;
      seen = cvm;
      const line = `${cvm.name}: ${agentText(cvm.agent)}\n`;
      if (hasReported(cvm.agent) && line !== told) context.terminal.err(line);
      told = line;
      const end = outcome(cvm);
      if (end !== undefined) return result(end);
      if (cvm.state === CvmState.FAILED || cvm.state === CvmState.DELETED) {
        lastWords ??= setTimeout(() => ended.abort(), lastWordsMs);
      }
    }
  } catch (error) {
    if (context.signal.aborted) throw new CvmpError('CANCELLED', 'the CVM runs on');
    if (ended.signal.aborted) return result('refused');
    if (!timeout.aborted) throw error;
    const why = `${started.name}: the Key Agent was not done after ${seconds} s; the CVM runs on`;
    throw new CvmpError('UNAVAILABLE', why, { cause: error });
  } finally {
    clearTimeout(lastWords);
  }
  throw new CvmpError('UNAVAILABLE', 'the platform ended the watch');
}
