import { describe, expect, it } from 'vitest';
import { type Checkpoint, signCheckpoint, signerName } from '#core/log/checkpoint.js';
import { verifyConsistency } from '#core/log/proofs.js';
import { crypto } from '#crypto';
import { MemoryStore } from '../../../fakes/memory-store.js';
import { refusalOf } from '../../../refusal.js';
import { copyOf, event, identity, openLog, write } from './harness.js';

/** A server that was copied after five records and went on to nine; the copy is five old. */
async function rolledBack() {
  const ahead = await openLog(new MemoryStore());
  await write(ahead, 5);
  const store = copyOf(ahead.store);
  await write(ahead, 4, 5);
  return { ahead, kept: await ahead.log.newest(), store, behind: await openLog(store) };
}

describe('a server that is shown its own checkpoints (protocol.md s.6.4)', () => {
  it('proves that its log continues the one that a peer keeps', async () => {
    const open = await openLog(new MemoryStore());
    for (const count of [3, 1, 20]) {
      const kept = await open.log.newest();
      await write(open, count);
      const { checkpoint, path } = await open.guard.continueFrom([kept.signed]);
      expect(verifyConsistency(kept, checkpoint, path)).toBe(true);
    }
    const { checkpoint, path } = await open.guard.continueFrom([]);
    expect(checkpoint).toEqual(await open.log.newest());
    expect(path).toEqual([]);
    expect(open.alarms).toEqual([]);
  });

  it('one from the future: nobody is served any more, and the alarm is raised', async () => {
    const { behind, kept } = await rolledBack();
    expect(await refusalOf(behind.guard.continueFrom([kept.signed]))).toBe('SERVER_ROLLBACK');
    expect(behind.alarms).toHaveLength(1);
    expect(behind.alarms[0]).toMatchObject({ shown: { size: 9 }, own: { size: 5 }, time: 5 });
    expect(await refusalOf(behind.journal.submit({ event: event(1) }))).toBe('SERVER_ROLLBACK');
    expect(await refusalOf(behind.guard.continueFrom([]))).toBe('SERVER_ROLLBACK');
    expect(behind.journal.failure?.code).toBe('SERVER_ROLLBACK');
  });

  it('one that it contradicts at a size that it has', async () => {
    const { behind, kept } = await rolledBack();
    await write(behind, 8, 100);
    expect(await refusalOf(behind.guard.continueFrom([kept.signed]))).toBe('SERVER_ROLLBACK');
    expect(behind.alarms).toHaveLength(1);
  });

  it('the same size with another root, or a later state of the same log', async () => {
    const { behind, ahead } = await rolledBack();
    await write(behind, 4, 100);
    const kept = await ahead.log.newest();
    expect((await behind.log.newest()).size).toBe(kept.size);
    expect(await refusalOf(behind.guard.continueFrom([kept.signed]))).toBe('SERVER_ROLLBACK');
    const open = await openLog(new MemoryStore());
    await write(open, 3);
    const newest = await open.log.newest();
    const later = await signCheckpoint(identity, { ...newest, stateVersion: 9 });
    expect(await refusalOf(open.guard.continueFrom([later.signed]))).toBe('SERVER_ROLLBACK');
  });

  it('a restart does not silence it', async () => {
    const { behind, kept, store } = await rolledBack();
    await refusalOf(behind.guard.continueFrom([kept.signed]));
    const again = await openLog(store);
    expect(again.alarms).toHaveLength(1);
    expect(again.guard.rollback?.shown).toEqual(kept);
    expect(await refusalOf(again.guard.continueFrom([]))).toBe('SERVER_ROLLBACK');
    expect(await refusalOf(again.journal.submit({ event: event(1) }))).toBe('SERVER_ROLLBACK');
  });

  it('decisions that were under way when it was noticed are durable or refused', async () => {
    const { behind, kept } = await rolledBack();
    const under = [0, 1, 2].map((n) => refusalOf(behind.journal.submit({ event: event(n) })));
    expect(await refusalOf(behind.guard.continueFrom([kept.signed]))).toBe('SERVER_ROLLBACK');
    expect(await Promise.all(under)).toEqual(['accepted', 'accepted', 'accepted']);
  });

  it('whoever cannot sign as this server cannot stop it', async () => {
    const open = await openLog(new MemoryStore());
    await write(open, 3);
    const stranger = await crypto.generateEcKey('P-256');
    const newest = await open.log.newest();
    const future: Checkpoint = { ...newest, size: 99 };
    const forged = await signCheckpoint(stranger, future);
    expect(await refusalOf(open.guard.continueFrom([forged.signed]))).toBe('SIGNATURE_INVALID');
    const foreign = await signCheckpoint(stranger, { ...future, keyServer: signerName(stranger) });
    expect(await refusalOf(open.guard.continueFrom([foreign.signed]))).toBe('accepted');
    expect(await refusalOf(open.guard.continueFrom([new Uint8Array(9)]))).not.toBe('accepted');
    expect(open.alarms).toEqual([]);
    await write(open, 1);
  });
});

describe('an operator who takes the loss', () => {
  it('must name what was shown; then the server serves again, and the log says so', async () => {
    const { behind, kept, store } = await rolledBack();
    expect(await refusalOf(behind.guard.accept(9, 'r'))).toBe('NOT_FOUND');
    await refusalOf(behind.guard.continueFrom([kept.signed]));
    expect(await refusalOf(behind.guard.accept(8, 'r'))).toBe('INVALID_FIELD');
    await behind.guard.accept(9, 'r7');
    await write(behind, 1);
    const { items } = await behind.reading.list('', { pageSize: 1, pageToken: '' });
    expect(items[0]).toMatchObject({ operation: 'rollback_accepted', requestId: 'r7', index: 6 });
    const again = await openLog(store);
    expect(again.guard.rollback).toBeUndefined();
    await write(again, 1);
  });

  it('who keeps a lost checkpoint gets no proof, and stops nobody else', async () => {
    const { behind, kept, store } = await rolledBack();
    await refusalOf(behind.guard.continueFrom([kept.signed]));
    await behind.guard.accept(9, 'r');
    for (const open of [behind, await openLog(store)]) {
      const { checkpoint, path } = await open.guard.continueFrom([kept.signed]);
      expect(verifyConsistency(kept, checkpoint, path)).toBe(false);
      expect(open.guard.rollback).toBeUndefined();
    }
  });

  it('a second rollback is noticed as the first was', async () => {
    const { behind, kept, ahead } = await rolledBack();
    await refusalOf(behind.guard.continueFrom([kept.signed]));
    await behind.guard.accept(9, 'r');
    ahead.clock.now = 6;
    await write(ahead, 1);
    const later = await ahead.log.newest();
    expect(await refusalOf(behind.guard.continueFrom([later.signed]))).toBe('SERVER_ROLLBACK');
    await behind.guard.accept(10, 'r');
    await write(behind, 1);
  });
});
