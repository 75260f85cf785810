import { equalBytes, fromUtf8, toHex } from '#core/bytes.js';
import { thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import type { SignedCheckpoint } from '#core/log/checkpoint.js';
import { type CopyVerdict, verifyLogCopy } from '#core/log/copy.js';
import { parseLogCopy } from '#wire/log-copy.js';
import { readKept } from '../audit/kept.js';
import { keyServerOf } from '../audit/key-server.js';
import { command } from '../command.js';
import { parsePublicKey } from '../profile/profile.js';
import { fields } from '../terminal/output.js';
import { readTypedBytes, readTypedText } from '../terminal/typed.js';

export const auditVerify = command({
  name: 'audit verify',
  summary: 'Verifies a copy of the log without the Key Server.',
  examples: [
    'cvmp audit verify records.ndjson',
    'cvmp audit verify log.ndjson --identity-key identity.pub',
  ],
  positionals: ['FILE'],
  options: {
    'identity-key': {
      type: 'string',
      value: 'FILE',
      summary:
        'Identity key of the Key Server (COSE_Key, base64url); the one of the profile unless told.',
    },
  },
  notes:
    'FILE is what cvmp audit export wrote, or an operator with cvmp-key-server export audit. Verified\n' +
    'are the signatures of the Key Server, that its log continues the checkpoint that you kept, that\n' +
    'every record is in the log unchanged and in its place, and that none is missing.',
  async run({ positionals: [file], options }, context) {
    const { copy, keyServer: named } = parseLogCopy(fromUtf8(await readTypedBytes(context, file!)));
    const identity = options['identity-key'];
    const known =
      identity === undefined
        ? (await keyServerOf(context)).keyServer.identityKey
        : parsePublicKey(await readTypedText(context, identity), 'identity-key');
    if (!equalBytes(thumbprint(named), thumbprint(known))) {
      const why = `the copy is of Key Server ${toHex(thumbprint(named))}, which is not yours`;
      throw new CvmpError('SERVER_UNTRUSTED', why);
    }
    const verdict = await verifyLogCopy(copy, known);
    const profile = identity === undefined ? await context.profile() : undefined;
    const now = profile && readKept(profile.file, known);
    return output(verdict, copy.tenant?.tenantId, keptNote(verdict, now));
  },
});

/** How the copy stands to what the profile keeps by now. */
function keptNote({ checkpoint, kept }: CopyVerdict, now: SignedCheckpoint | undefined): string {
  if (now === undefined) return 'nothing is kept of this server beside the copy';
  const isOne = (one: SignedCheckpoint | undefined) =>
    one !== undefined && one.size === now.size && equalBytes(one.root, now.root);
  if (isOne(checkpoint)) return 'it is the one that the profile keeps';
  if (isOne(kept)) return 'it continues the one that the profile keeps';
  if (now.size < checkpoint.size) return `the profile keeps an older one of ${now.size} records`;
  if (now.size === checkpoint.size) return 'DIFFERS from the one of the same size that is kept';
  return `the profile keeps a later one of ${now.size} records; a new export proves that it continues`;
}

function output(verdict: CopyVerdict, tenantId: string | undefined, note: string) {
  const { checkpoint, kept, records, faults } = verdict;
  const accepted = faults.length === 0 && !note.startsWith('DIFFERS');
  const time = (ms: number | undefined) => (ms === undefined ? '-' : new Date(ms).toISOString());
  const lines = faults.map(
    ({ code, index, message }) =>
      `  ${code} ${index === undefined ? 'the copy' : `record ${index}`}: ${message}`,
  );
  return {
    json: {
      accepted,
      tenant: tenantId ?? null,
      records: records.length,
      log_size: checkpoint.size,
      log_root: toHex(checkpoint.root),
      signed: time(checkpoint.time),
      kept_size: kept?.size ?? null,
      kept_note: note,
      faults: faults.map(({ code, index, message }) => ({ code, index: index ?? null, message })),
    },
    text: [
      accepted
        ? 'accepted: whole and unchanged'
        : 'refused: the log was changed, or is not all here',
      fields([
        ['records', `${records.length} of ${tenantId ?? 'all tenants'}`],
        ['from', time(records[0]?.time)],
        ['to', time(records.at(-1)?.time)],
        ['log', `${checkpoint.size} records, root ${toHex(checkpoint.root).slice(0, 16)}...`],
        ['signed', time(checkpoint.time)],
        ['checkpoint', note],
      ]),
      ...lines,
    ].join('\n'),
    exitCode: accepted ? (0 as const) : (1 as const),
  };
}
