import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { exitCode } from '#agent/exit-codes.js';
import { CheckpointKeeper } from '#agent/session/checkpoints.js';
import { connectSession } from '#agent/session/client.js';
import { decode } from '#core/cbor/decode.js';
import { ecPublicKey } from '#core/cose/key.js';
import { parseCheckpoint, signCheckpoint, signerName } from '#core/log/checkpoint.js';
import { crypto } from '#crypto';
import { snpAttester } from '../../fakes/configfs-tsm.js';
import { FakeLog } from '../../fakes/log.js';
import { SessionServer } from '../../fakes/session-server.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

let server: SessionServer;
let file: string;
let damaged: string[];

beforeAll(async () => {
  server = await SessionServer.start();
});
afterAll(() => server.close());
beforeEach(() => {
  file = join(temporaryFolder('checkpoints'), 'checkpoints');
  damaged = [];
  server.log = new FakeLog(server.identity, 'one', 'two');
});
afterEach(() => {
  server.misbehaviour.checkpoint = undefined;
});

const open = () => CheckpointKeeper.open(file, ({ code }) => void damaged.push(code));

/** One boot: attests, allocates a key, ends. */
async function boot(): Promise<void> {
  const configDocument = server.configDocument();
  const randomBytes = crypto.randomBytes;
  const session = await connectSession({
    keyServer: { host: '127.0.0.1', port: server.port },
    ca: server.tls.certificate,
    attester: snpAttester(configDocument),
    configDocument,
    agentBuild: 'test',
    randomBytes,
    checkpoints: await open(),
  });
  await session.alloc({ requestId: randomBytes(16), keyId: undefined, purpose: 'disk' });
  session.close();
}

const keptSizes = async () => (await open()).all.map(({ size }) => size);

describe('an agent holds the Key Server to what it said before (protocol.md s.6.4)', () => {
  test('it keeps the newest checkpoint of every answer, durably, and shows it next time', async () => {
    await boot();
    expect(await keptSizes()).toEqual([3]);
    await boot();
    expect(await keptSizes()).toEqual([4]);
    server.log.add('by somebody else');
    await boot();
    expect(await keptSizes()).toEqual([6]);
    expect(damaged).toEqual([]);
  });

  test.each<[string, () => FakeLog]>([
    ['lost its last records', () => new FakeLog(server.identity, 'one', 'two')],
    ['begins anew', () => new FakeLog(server.identity)],
    ['has another record of the same number', () => new FakeLog(server.identity, 'one', '2', '3')],
    ['went another way', () => new FakeLog(server.identity, 'one', 'two', '3', '4', '5')],
  ])('a server whose log %s is refused before any evidence leaves', async (_, log) => {
    await boot();
    const kept = readFileSync(file);
    server.log = log();
    const refused = await refusalOf(boot());
    expect(refused).toBe('LOG_INCONSISTENT');
    expect(exitCode('LOG_INCONSISTENT')).toBe(18);
    expect(readFileSync(file)).toEqual(kept);
  });

  test('a server that shows no checkpoint is refused', async () => {
    server.log.continueFrom = async () => {
      const checkpoint = { ...(await server.log.newest()), signed: new Uint8Array() };
      return { checkpoint, path: [] };
    };
    expect(await refusalOf(boot())).toBe('SERVER_UNTRUSTED');
  });

  test('an answer with a checkpoint that the server did not sign ends the session', async () => {
    const stranger = new FakeLog(await crypto.generateEcKey('P-256'), 'one');
    server.misbehaviour.checkpoint = (await stranger.newest()).signed;
    expect(await refusalOf(boot())).toBe('SERVER_UNTRUSTED');
  });

  test('two logs of one size, both signed, are told apart', async () => {
    server.misbehaviour.checkpoint = (await new FakeLog(server.identity, 'a', 'b').newest()).signed;
    expect(await refusalOf(boot())).toBe('LOG_INCONSISTENT');
  });

  test('a file that holds something else is told of, and begins anew', async () => {
    await boot();
    for (const bytes of [
      new Uint8Array([1, 2]),
      new Uint8Array(9000),
      readFileSync(file).fill(0, 9),
    ]) {
      writeFileSync(file, bytes);
      expect((await open()).all).toEqual([]);
    }
    expect(damaged).toHaveLength(3);
    await boot();
    expect(await keptSizes()).toEqual([4]);
  });

  test('each Key Server has its own, and no more than eight are kept', async () => {
    const keeper = await open();
    const identities = await Promise.all(
      Array.from({ length: 9 }, () => crypto.generateEcKey('P-256')),
    );
    for (const identity of identities) {
      const { signed } = await new FakeLog(identity, 'one').newest();
      await keeper.keep(signed, ecPublicKey(identity.curve, identity.publicPoint));
    }
    const list = decode(new Uint8Array(readFileSync(file))) as Uint8Array[];
    const names = list.map((signed) => parseCheckpoint(signed).keyServer);
    expect(names).toEqual(identities.slice(1).map(signerName));
  });

  test('an older checkpoint never replaces a newer one', async () => {
    const keeper = await open();
    const key = ecPublicKey(server.identity.curve, server.identity.publicPoint);
    const newest = await server.log.newest();
    await keeper.keep(newest.signed, key);
    const older = await new FakeLog(server.identity, 'one').newest();
    await keeper.keep(older.signed, key);
    expect((await open()).all).toEqual([newest]);
    const forged = await signCheckpoint(await crypto.generateEcKey('P-256'), newest);
    expect(await refusalOf(keeper.keep(forged.signed, key))).toBe('SERVER_UNTRUSTED');
  });
});
