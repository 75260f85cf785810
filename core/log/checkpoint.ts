import { equalBytes } from '../bytes.js';
import { encode } from '../cbor/encode.js';
import { decodeMap } from '../cbor/read.js';
import type { CborKey, CborValue } from '../cbor/value.js';
import { label } from '../cose/headers.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '../cose/key.js';
import { parseSign1, sign1, verifySign1 } from '../cose/sign1.js';
import type { EcPrivateKey } from '../crypto.js';
import { CvmpError } from '../errors.js';
import { type TreeHead, verifyConsistency } from './proofs.js';
import { digestLength, leavesMax } from './tree.js';

/** What a Key Server says about its log at one moment; whoever keeps it can hold it to that. */
export interface Checkpoint extends TreeHead {
  /** Records in the log. */
  readonly size: number;
  /** Root over them, 32 bytes. */
  readonly root: Uint8Array;
  /** Counts the durable batches of the store that recorded anything. */
  readonly stateVersion: number;
  /** By the server's clock, milliseconds since 1970. */
  readonly time: number;
  /** Thumbprint of the identity key that signs, 32 bytes. */
  readonly keyServer: Uint8Array;
}

/** A checkpoint with the bytes that prove it. */
export interface SignedCheckpoint extends Checkpoint {
  /** COSE_Sign1. */
  readonly signed: Uint8Array;
}

export const checkpointType = 'application/cvmp-checkpoint+cbor';
export const checkpointBytesMax = 512;

const signedHeaders: ReadonlyMap<CborKey, CborValue> = new Map([[label.typ, checkpointType]]);

/** Signs a tagged COSE_Sign1 with `typ`; the payload names the signer. */
export async function signCheckpoint(
  identity: EcPrivateKey,
  checkpoint: Checkpoint,
): Promise<SignedCheckpoint> {
  const payload = encode(
    new Map<number, CborValue>([
      [1, checkpoint.size],
      [2, checkpoint.root],
      [3, checkpoint.stateVersion],
      [4, checkpoint.time],
      [5, checkpoint.keyServer],
    ]),
  );
  // While the batch that it signs for is written.
  const signed = await sign1(identity, payload, { protected: signedHeaders }, {}, 'aside');
  return { ...checkpoint, signed };
}

/**
 * Reads a checkpoint without its signature: to learn whose it says it is.
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE, UNKNOWN_CRITICAL
 */
export function parseCheckpoint(signed: Uint8Array): SignedCheckpoint {
  return parse(signed).checkpoint;
}

/**
 * Reads a checkpoint and verifies that this server signed it.
 * @throws CvmpError SIGNATURE_INVALID, SERVER_UNTRUSTED where it names another signer, and those of
 *   {@link parseCheckpoint}
 */
export async function openCheckpoint(
  signed: Uint8Array,
  keyServer: EcPublicKey,
): Promise<SignedCheckpoint> {
  const { checkpoint, message } = parse(signed);
  if (!equalBytes(checkpoint.keyServer, thumbprint(keyServer))) {
    throw new CvmpError('SERVER_UNTRUSTED', 'the checkpoint is of another Key Server');
  }
  await verifySign1(message, keyServer);
  return checkpoint;
}

/** The name under which a server signs its checkpoints. */
export function signerName(identity: EcPrivateKey): Uint8Array {
  return thumbprint(ecPublicKey(identity.curve, identity.publicPoint));
}

/**
 * Holds a server to what it said before: the next log must begin with the kept one.
 * @param path consistency proof between the two
 * @throws CvmpError LOG_INCONSISTENT
 */
export function demandContinuation(
  kept: Checkpoint,
  next: Checkpoint,
  path: readonly Uint8Array[],
): void {
  if (next.size < kept.size) {
    throw inconsistent(`it has ${next.size} records, and had ${kept.size}`);
  }
  if (next.stateVersion < kept.stateVersion) {
    throw inconsistent(`its state is version ${next.stateVersion}, and was ${kept.stateVersion}`);
  }
  if (!verifyConsistency(kept, next, path)) {
    throw inconsistent(`its ${next.size} records do not prove to begin with the ${kept.size} kept`);
  }
}

function inconsistent(what: string): CvmpError {
  return new CvmpError('LOG_INCONSISTENT', `the log of the Key Server was rolled back: ${what}`);
}

function parse(signed: Uint8Array) {
  if (signed.length > checkpointBytesMax) {
    const what = `a checkpoint has at most ${checkpointBytesMax} bytes`;
    throw new CvmpError('SIZE', what, { field: 'checkpoint' });
  }
  const message = parseSign1(signed, { typ: checkpointType });
  if (message.payload === null) {
    throw new CvmpError('MALFORMED', 'the checkpoint has no payload', { field: 'checkpoint' });
  }
  const checkpoint = decodeMap(message.payload, 'checkpoint', (m) => ({
    size: m.integer(1, 'size', { max: leavesMax }),
    root: m.bytes(2, 'root', { length: digestLength }),
    stateVersion: m.integer(3, 'state_version'),
    time: m.integer(4, 'time'),
    keyServer: m.bytes(5, 'key_server', { length: digestLength }),
    signed,
  }));
  return { checkpoint, message };
}
