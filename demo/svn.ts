import { diskHeader } from './disk.js';
import type { Provisioned } from './figures.js';
import { auditMark, auditSince, boot, done, keysOf, refusedBoot } from './look.js';
import type { Actor, Stage } from './stage.js';
import type { Story } from './story.js';

/** Figure 6, and what the raised floor keeps out. */
export async function updatedCvm(story: Story, stage: Stage, made: Provisioned): Promise<void> {
  story.chapter('Its security version rises');
  await updated(story, stage, made);
  await outdated(story, stage, made);
  await reallocated(story, stage, made);
  await outdatedReallocation(story, stage, made);
}

async function keyOf(demo: Actor, keyId: string) {
  return (await keysOf(demo)).find((key) => key.key_id === keyId);
}

async function updated(story: Story, stage: Stage, { keyId }: Provisioned): Promise<void> {
  const { demo } = stage;
  await story.step(
    {
      source: 'draft s.3.3.4, Figure 6; protocol.md, Keys',
      title: 'SVN update: image v2 with SVN 2, the disk is re-keyed, the floor rises',
      command:
        'cvmp cvm stop web && cvmp cvm update web --image sample-v2 --svn 2 && cvmp cvm start web --wait',
      asked: 'KeyAcquire (SVN 1), KeyAcquire (SVN 2), KeyUpdate to floor 2, then retire below 2',
      answeredBy: 'Key Server, KeyUpdateResponse: changed',
      proves: 'at each step one disk slot opens with a key that may still be fetched',
    },
    async (found) => {
      await done(demo, 'cvm stop web');
      await done(demo, 'cvm update web --image sample-v2 --svn 2');
      const { outcome, cvm } = await boot(demo, 'cvm start web');
      found.expect('outcome', outcome, 'delivered');
      found.expect('disk', cvm.agent.disk_action, 'rekeyed');
      found.expect('level that the evidence proves', cvm.agent.level, 2);
      const key = await keyOf(demo, keyId);
      found.expect('floor of the key', key?.svn_floor, 2);
      found.expect('retired below', key?.svn_retired, 2);
      const header = await diskHeader(stage, cvm.cvm_id);
      found.expect('disk header', header.slots, [{ keyId, svn: 2 }]);
      const entries = await auditSince(demo, 0, 'web');
      found.require(
        'the audit has key_update',
        entries.some((entry) => entry.operation === 'key_update' && entry.granted),
      );
    },
  );
}

async function outdated(
  story: Story,
  stage: Stage,
  { keyId, cvm: first }: Provisioned,
): Promise<void> {
  const { demo } = stage;
  await story.step(
    {
      source: 'draft s.3.3.4',
      title: 'A Key Agent with an outdated SVN is refused',
      command: 'cvmp cvm update web --image sample-v1 --svn 1 && cvmp cvm start web --wait',
      asked: 'KeyAcquireRequest by the old image, which proves level 1 only',
      answeredBy: 'Key Server: SVN_BELOW_FLOOR',
      proves: 'rolling the CVM back does not bring its key back',
    },
    async (found) => {
      await done(demo, 'cvm stop web');
      await done(demo, 'cvm update web --image sample-v1 --svn 1');
      await refusedBoot(demo, 'cvm start web', 'SVN_BELOW_FLOOR', found);
      found.expect('floor of the key', (await keyOf(demo, keyId))?.svn_floor, 2);
      const header = await diskHeader(stage, first.cvm_id);
      found.expect('disk header, unchanged', header.slots, [{ keyId, svn: 2 }]);
      await done(demo, 'cvm stop web');
      await done(demo, 'cvm update web --image sample-v2 --svn 2');
      const { cvm } = await boot(demo, 'cvm start web');
      found.expect('with image v2 again, disk', cvm.agent.disk_action, 'opened');
    },
  );
}

async function reallocated(story: Story, { demo }: Stage, { keyId }: Provisioned): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.3.4',
      title: 'Re-allocation: a new CVM takes a Security Key from the same root key',
      command: `cvmp cvm create web2 --image sample-v2 --svn 2 --key-id ${keyId} --wait`,
      asked: 'KeyAllocRequest naming the KeyID, on a fresh disk',
      answeredBy: 'Key Server, KeyAllocResponse from the same root key',
      proves: 'a CVM that meets the floor replaces another; one that does not gets nothing',
    },
    async (found) => {
      const line = `cvm create web2 --image sample-v2 --svn 2 --key-id ${keyId}`;
      const mark = await auditMark(demo);
      const { outcome, cvm } = await boot(demo, line);
      found.expect('outcome', outcome, 'delivered');
      found.expect('KeyID', cvm.agent.key_id, keyId);
      found.expect('disk', cvm.agent.disk_action, 'formatted');
      found.expect('keys on the Key Server', (await keysOf(demo)).length, 1);
      const log = await auditSince(demo, mark, 'web2');
      const alloc = log.find((entry) => entry.operation === 'key_alloc');
      found.expect('audit: key_alloc of', alloc?.key_id, keyId);
    },
  );
}

async function outdatedReallocation(
  story: Story,
  { demo }: Stage,
  { keyId }: Provisioned,
): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.3.4',
      title: 'Re-allocation with an outdated SVN is refused',
      command: `cvmp cvm create web3 --image sample-v1 --svn 1 --key-id ${keyId} --wait`,
      asked: 'KeyAllocRequest naming the KeyID, by the old image',
      answeredBy: 'Key Server: SVN_BELOW_FLOOR',
      proves: 'the floor holds for every way to the root key',
    },
    async (found) => {
      const line = `cvm create web3 --image sample-v1 --svn 1 --key-id ${keyId}`;
      await refusedBoot(demo, line, 'SVN_BELOW_FLOOR', found);
    },
  );
}
