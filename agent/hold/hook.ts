import { toHex } from '#core/bytes.js';
import type { CvmpError } from '#core/errors.js';
import { runProgram } from '../child-program.js';
import { codedError, errorFields, type Logger, logField } from '../log.js';

const deadlineMs = 60_000;

/** What the tenant's own program in the guest is told. */
export interface HookCall {
  /** "key suspended", "access lost" ... */
  readonly what: string;
  readonly keyId: Uint8Array | undefined;
  readonly error: CvmpError | undefined;
}

/**
 * Runs the program with what happened, the KeyID in hex and a code ("-" where there is none), and
 * waits for it. Whatever it does, the agent goes on.
 */
export async function runHook(
  program: string | undefined,
  { what, keyId, error }: HookCall,
  log: Logger,
): Promise<void> {
  if (program === undefined) return;
  const args = [
    what.replaceAll(' ', '-'),
    keyId === undefined ? '-' : toHex(keyId),
    error?.code ?? '-',
  ];
  try {
    const { exitCode } = await runProgram(program, args, { deadlineMs });
    log.info({ [logField.exitCode]: exitCode }, 'hook has run');
  } catch (caught) {
    log.error(errorFields(codedError(caught)), 'hook failed');
  }
}
