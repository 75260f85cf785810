import { beforeAll, describe, expect, it } from 'vitest';
import { encode } from '#core/cbor/encode.js';
import type { CborValue } from '#core/cbor/value.js';
import { type EcPublicKey, ecPublicKey, thumbprint } from '#core/cose/key.js';
import { sign1 } from '#core/cose/sign1.js';
import type { EcPrivateKey } from '#core/crypto.js';
import {
  type Checkpoint,
  checkpointBytesMax,
  checkpointType,
  demandContinuation,
  openCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  signerName,
} from '#core/log/checkpoint.js';
import { consistencyPath } from '#core/log/proofs.js';
import { openTenantHead, signTenantHead } from '#core/log/tenant-head.js';
import { crypto } from '#crypto';
import { refusalOf } from '../../refusal.js';
import { leaves, naiveRoot, nodesOf } from './naive-tree.js';

let identity: EcPrivateKey;
let keyServer: EcPublicKey;
let other: EcPrivateKey;
beforeAll(async () => {
  identity = await crypto.generateEcKey('P-256');
  other = await crypto.generateEcKey('P-256');
  keyServer = ecPublicKey(identity.curve, identity.publicPoint);
});

const all = leaves(20);
const at = (size: number, stateVersion = size): Checkpoint => ({
  size,
  root: naiveRoot(all.slice(0, size)),
  stateVersion,
  time: 1_700_000_000_000,
  keyServer: signerName(identity),
});

describe('checkpoints (protocol.md s.6.4)', () => {
  it('say size, root, state version, time and signer, in few bytes', async () => {
    const signed = await signCheckpoint(identity, at(7, 3));
    expect(signed.signed.length).toBeLessThan(250);
    expect(await openCheckpoint(signed.signed, keyServer)).toEqual(signed);
    expect(parseCheckpoint(signed.signed)).toEqual(signed);
    expect(signed).toMatchObject({ size: 7, stateVersion: 3, keyServer: thumbprint(keyServer) });
  });

  it('every changed byte is noticed', async () => {
    const { signed } = await signCheckpoint(identity, at(7));
    for (let i = 0; i < signed.length; i++) {
      const bad = signed.slice();
      bad[i]! ^= 0x01;
      expect(await refusalOf(openCheckpoint(bad, keyServer)), `byte ${i}`).not.toBe('accepted');
    }
  });

  it('one of another server, or signed by another, is not believed', async () => {
    const foreign = await signCheckpoint(other, { ...at(7), keyServer: signerName(other) });
    expect(await refusalOf(openCheckpoint(foreign.signed, keyServer))).toBe('SERVER_UNTRUSTED');
    const forged = await signCheckpoint(other, at(7));
    expect(await refusalOf(openCheckpoint(forged.signed, keyServer))).toBe('SIGNATURE_INVALID');
  });

  it.each<[string, string, Map<number, CborValue>]>([
    ['a root that is cut off', 'SIZE', new Map([[2, new Uint8Array(31)]])],
    ['a size beyond 2^48', 'SIZE', new Map([[1, 2 ** 48 + 1]])],
    ['a negative state version', 'SIZE', new Map([[3, -1]])],
    ['a field that is not known', 'MALFORMED', new Map([[9, 0]])],
  ])('%s is refused', async (_, code, change) => {
    const { size, root, stateVersion, time, keyServer: name } = at(7);
    const fields: [number, CborValue][] = [
      [1, size],
      [2, root],
      [3, stateVersion],
      [4, time],
      [5, name],
    ];
    const payload = encode(new Map([...fields, ...change]));
    const signed = await sign1(identity, payload, { protected: new Map([[16, checkpointType]]) });
    expect(await refusalOf(openCheckpoint(signed, keyServer))).toBe(code);
  });

  it('no other signed object of the server passes as one, and none is too long', async () => {
    const head = await signTenantHead(identity, signerName(identity), {
      tenantId: 'acme',
      size: 7,
      root: at(7).root,
      sequence: 2,
      leaf: new Uint8Array(32),
    });
    expect(await refusalOf(() => parseCheckpoint(head))).toBe('MALFORMED');
    const long = new Uint8Array(checkpointBytesMax + 1);
    expect(await refusalOf(() => parseCheckpoint(long))).toBe('SIZE');
  });
});

describe('a server is held to what it said before (protocol.md s.6.4)', () => {
  const judge = async (kept: Checkpoint, next: Checkpoint, path?: readonly Uint8Array[]) =>
    refusalOf(async () =>
      demandContinuation(
        kept,
        next,
        path ?? (await consistencyPath(kept.size, next.size, nodesOf(all))),
      ),
    );

  it('a log that grew, or that is the same, continues', async () => {
    expect(await judge(at(5), at(13))).toBe('accepted');
    expect(await judge(at(5), at(5))).toBe('accepted');
    expect(await judge(at(0), at(5))).toBe('accepted');
  });

  it('a shorter log, another root, no proof or an older state do not', async () => {
    expect(await judge(at(13), at(5), [])).toBe('LOG_INCONSISTENT');
    expect(await judge({ ...at(5), root: at(6).root }, at(5), [])).toBe('LOG_INCONSISTENT');
    expect(await judge(at(5), at(13), [])).toBe('LOG_INCONSISTENT');
    expect(await judge(at(5, 9), at(13, 8))).toBe('LOG_INCONSISTENT');
  });
});

describe("a server's word on a tenant's last record", () => {
  const head = () => ({
    tenantId: 'acme',
    size: 7,
    root: at(7).root,
    sequence: 2,
    leaf: new Uint8Array(32).fill(5),
  });

  it('is read back as signed', async () => {
    const signed = await signTenantHead(identity, signerName(identity), head());
    expect(await openTenantHead(signed, keyServer)).toEqual(head());
  });

  it('every changed byte is noticed, and so is another signer', async () => {
    const signed = await signTenantHead(identity, signerName(identity), head());
    for (let i = 0; i < signed.length; i++) {
      const bad = signed.slice();
      bad[i]! ^= 0x01;
      expect(await refusalOf(openTenantHead(bad, keyServer)), `byte ${i}`).not.toBe('accepted');
    }
    const forged = await signTenantHead(other, signerName(identity), head());
    expect(await refusalOf(openTenantHead(forged, keyServer))).toBe('SIGNATURE_INVALID');
    const foreign = await signTenantHead(identity, signerName(other), head());
    expect(await refusalOf(openTenantHead(foreign, keyServer))).toBe('SERVER_UNTRUSTED');
  });
});
