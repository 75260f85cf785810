import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Interceptor, Transport } from '@connectrpc/connect';
import { createClient } from '@connectrpc/connect';
import { fromBase64Url, toBase64Url, toHex } from '#core/bytes.js';
import { type EcPublicKey, thumbprint } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import {
  demandContinuation,
  openCheckpoint,
  parseCheckpoint,
  type SignedCheckpoint,
} from '#core/log/checkpoint.js';
import { AuditService } from '#gen/cvmp/v1/audit_pb.js';

/** File beside a profile with the newest checkpoint of each of its Key Servers. */
export const keptFileOf = (profileFile: string) => `${profileFile}.checkpoints`;

/**
 * What a Key Server said of its log, kept beside the profile: lines of thumbprint and checkpoint.
 * @throws CvmpError CONFIG where the file is there and holds something else
 */
export function readKept(
  profileFile: string,
  keyServer: EcPublicKey,
): SignedCheckpoint | undefined {
  const file = keptFileOf(profileFile);
  const line = linesOf(file).get(toHex(thumbprint(keyServer)));
  if (line === undefined) return undefined;
  try {
    return parseCheckpoint(fromBase64Url(line, file));
  } catch (cause) {
    const what = `${file} is damaged: what it kept of the Key Server cannot be held against it`;
    throw new CvmpError('CONFIG', what, { cause });
  }
}

/** Whole or not at all. @throws CvmpError CONFIG */
export function writeKept(profileFile: string, checkpoint: SignedCheckpoint): void {
  const file = keptFileOf(profileFile);
  const lines = linesOf(file);
  lines.set(toHex(checkpoint.keyServer), toBase64Url(checkpoint.signed));
  writeLines(file, lines);
}

/** Takes a checkpoint out; it is left in a file of its own. @returns that file. @throws CvmpError CONFIG */
export function forgetKept(
  profileFile: string,
  { keyServer, size, signed }: SignedCheckpoint,
): string {
  const file = keptFileOf(profileFile);
  const lines = linesOf(file);
  const name = toHex(keyServer);
  const lost = `${file}.lost-${size}`;
  writeLines(lost, new Map([[name, toBase64Url(signed)]]));
  lines.delete(name);
  writeLines(file, lines);
  return lost;
}

function writeLines(file: string, lines: ReadonlyMap<string, string>): void {
  const fresh = `${file}.new`;
  try {
    writeFileSync(fresh, [...lines].map((line) => `${line.join(' ')}\n`).join(''), { flush: true });
    renameSync(fresh, file);
  } catch (cause) {
    throw new CvmpError('CONFIG', `${file} cannot be written`, { cause });
  }
}

function linesOf(file: string): Map<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw new CvmpError('CONFIG', `${file} cannot be read`, { cause });
  }
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ') as [string, string]),
  );
}

/**
 * Holds a Key Server to what it said before, at every call: before the first one of a command, so
 * that nothing is asked of a server that was rolled back, and after each one, so that its outcome is
 * kept too (protocol.md s.6.4).
 * @param transport to the same server
 */
export function holdToLog(
  profileFile: string,
  keyServer: EcPublicKey,
  transport: () => Transport,
): Interceptor {
  let begun: Promise<unknown> | undefined;
  const check = () => continued(profileFile, keyServer, transport());
  return (next) => async (request) => {
    if (request.method.name === 'GetCheckpoint') return next(request);
    begun ??= check();
    await begun;
    const answer = await next(request);
    // After it the key of this command speaks for nobody; the next command checks.
    if (request.method.name !== 'RotateTenantKey') await check();
    return answer;
  };
}

/** The newest checkpoint, which continues the kept one and takes its place. */
async function continued(
  profileFile: string,
  keyServer: EcPublicKey,
  transport: Transport,
): Promise<void> {
  const kept = readKept(profileFile, keyServer);
  const answer = await createClient(AuditService, transport).getCheckpoint({
    knownCheckpoint: kept?.signed ?? new Uint8Array(),
  });
  const checkpoint = await openCheckpoint(answer.checkpoint, keyServer);
  if (kept !== undefined) demandContinuation(kept, checkpoint, answer.consistencyPath);
  if (kept === undefined || checkpoint.size > kept.size) writeKept(profileFile, checkpoint);
}
