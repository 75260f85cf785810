import type { Client } from '@connectrpc/connect';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { KeyAdminService, KeyInfo } from '#gen/cvmp/v1/key_admin_pb.js';
import {
  type Arguments,
  type Command,
  type CommandContext,
  command,
  type Options,
} from '../command.js';
import { confirm } from '../terminal/confirm.js';
import { hexBytes } from '../terminal/typed.js';
import { keyFields, keyOutput } from './key-text.js';

type Keys = Client<typeof KeyAdminService>;

/** What every change of a key says: the key, its revision as it was shown, an id of its own. */
export interface Change {
  readonly keyId: Uint8Array;
  readonly requestId: Uint8Array;
  readonly expectedRevision: bigint;
}

interface ChangeSpec<O extends Options> {
  readonly name: string;
  readonly summary: string;
  readonly examples: readonly string[];
  readonly notes?: string;
  readonly options: O;
  /** Asked before; undefined: nothing is lost by it. */
  readonly question?: (key: KeyInfo, options: Arguments<O>['options']) => string;
  readonly call: (
    keys: Keys,
    change: Change,
    options: Arguments<O>['options'],
  ) => Promise<{ readonly key?: KeyInfo | undefined }>;
  /** What to do next. */
  readonly next?: (key: KeyInfo) => string;
}

const asking = { yes: { type: 'boolean', summary: 'Do not ask.' } } as const;

/**
 * A command that changes one key: shows it, asks where something may be lost, and changes it only
 * if it still is what was shown.
 */
export function keyChange<const O extends Options>(spec: ChangeSpec<O>): Command {
  const { name, summary, examples, notes } = spec;
  return command({
    name,
    summary,
    examples,
    ...(notes === undefined ? {} : { notes }),
    positionals: ['KEYID'],
    options: { ...spec.options, ...asking },
    async run({ positionals: [typed], options }, context) {
      const own = options as Arguments<O>['options'] & { readonly yes: boolean };
      const shown = await fetchKey(context, typed!);
      const question = spec.question?.(shown, own);
      if (question !== undefined && !own.yes) await ask(context, shown, question);
      const keys = (await context.servers()).keys();
      const { key } = await spec.call(keys, changeOf(shown), own);
      return keyOutput(key, (changed) => {
        const next = spec.next?.(changed);
        return next === undefined ? keyFields(changed) : `${keyFields(changed)}\n\n${next}`;
      });
    },
  });
}

/** @throws CvmpError USAGE, or NOT_FOUND by the server */
export async function fetchKey(context: CommandContext, typed: string): Promise<KeyInfo> {
  const keyId = hexBytes(typed, 'KEYID', 16);
  const { key } = await (await context.servers()).keys().getKey({ keyId });
  if (key === undefined) throw new CvmpError('NOT_FOUND', 'the server names no key');
  return key;
}

export function changeOf({ keyId, revision }: KeyInfo): Change {
  return { keyId, requestId: crypto.randomBytes(16), expectedRevision: revision };
}

/** Shows what it is about, then asks. @throws CvmpError CANCELLED, USAGE */
export async function ask(context: CommandContext, key: KeyInfo, question: string): Promise<void> {
  if (context.terminal.interactive) context.terminal.err(`${keyFields(key)}\n\n`);
  await confirm(context.terminal, question);
}
