import type { Client } from '@connectrpc/connect';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { toHex } from '#core/bytes.js';
import { KeyAdminService } from '#gen/cvmp/v1/key_admin_pb.js';
import { NoticeKind } from '#gen/cvmp/v1/key_pb.js';
import { bearer, makeSigner } from '../../fakes/callers.js';
import type { StreamEnd } from '../../fakes/grpc-stream.js';
import { RawAgent } from '../../fakes/raw-agent.js';
import { canary } from '../../run-folder.js';
import { RawClient, told } from '../host/raw-client.js';
import { admittedGuest } from './admitted-guest.js';
import { KeyServerFolder, type KeyServerProcess } from './process.js';

/** What became of the requests of one agent, by their ids in hex. */
interface Outcome {
  readonly sent: Set<string>;
  readonly answered: Map<string, Uint8Array>;
  readonly refused: Map<string, string>;
  readonly notices: NoticeKind[];
  end?: StreamEnd;
}

/** Keeps `inFlight` allocations on the stream until it ends. */
async function load(agent: RawAgent, inFlight: number, onAnswer: () => void): Promise<Outcome> {
  const outcome: Outcome = {
    sent: new Set(),
    answered: new Map(),
    refused: new Map(),
    notices: [],
  };
  const send = () => outcome.sent.add(toHex(agent.request({ case: 'keyAlloc', value: {} })));
  for (let i = 0; i < inFlight; i++) send();
  try {
    for (;;) {
      const { requestId, response } = await agent.receive();
      if (response.case === 'notice') outcome.notices.push(response.value.kind);
      else if (response.case === 'error')
        outcome.refused.set(toHex(requestId), response.value.code);
      else if (response.case === 'keyAlloc') {
        canary(response.value.securityKey);
        outcome.answered.set(toHex(requestId), response.value.keyId);
        onAnswer();
        send();
      }
    }
  } catch (end) {
    if (typeof end !== 'object' || end === null || !('status' in end)) throw end;
    return { ...outcome, end: end as StreamEnd };
  }
}

/** Unary calls one after the other until the server is gone. @returns how the refused ones ended */
async function unaryLoad(client: RawClient, token: string): Promise<readonly string[]> {
  const refused: string[] = [];
  while (refused.length < 3) {
    const ended = await client.unary('cvmp.v1.KeyAdminService/ListKeys', new Uint8Array(), token);
    if (ended.code !== 0) refused.push(told(ended).split('/')[0] ?? '');
  }
  return refused;
}

async function attested(
  server: KeyServerProcess,
  launched: Parameters<typeof RawAgent.connect>[0],
) {
  const agent = await RawAgent.connect({ ...launched, address: server.address });
  onTestFinished(() => agent.close());
  await agent.attest();
  return agent;
}

const unavailable = 14;

describe('SIGTERM under load (issue 4, 7: drain without a dropped answer)', () => {
  test('what was decided is answered, what was not is refused retriable, and nothing is lost', async () => {
    const folder = await KeyServerFolder.initialised();
    const acme = await makeSigner('acme');
    let server = await folder.serve();
    const { guest, configDocument } = await admittedGuest(folder, server, acme);
    const launched = { guest, configDocument, address: '', ca: folder.certificate };
    const agents = await Promise.all([1, 2, 3, 4].map(() => attested(server, launched)));
    let answers = 0;
    let stopped: Promise<number | null> | undefined;
    const onAnswer = () => {
      answers += 1;
      if (answers === 200) stopped = server.end('SIGTERM');
    };
    const raw = new RawClient(server.address, folder.certificate);
    const unary = unaryLoad(raw, await bearer(acme, 'key-server', Date.now()));
    const outcomes = await Promise.all(agents.map((agent) => load(agent, 32, onAnswer)));
    expect(await stopped).toBe(0);
    for (const { end, notices } of outcomes) {
      expect(end).toMatchObject({ status: unavailable, code: 'SHUTTING_DOWN' });
      expect(notices).toEqual([NoticeKind.SHUTTING_DOWN]);
    }
    const refusals = outcomes.flatMap(({ refused }) => [...refused.values()]);
    expect(new Set(refusals)).toEqual(new Set(refusals.length > 0 ? ['SHUTTING_DOWN'] : []));
    // Of unary calls too none ends as anything but unavailable.
    expect(new Set(await unary)).toEqual(new Set(['UNAVAILABLE']));

    server = await folder.serve();
    const answered = outcomes.flatMap((o) => [...o.answered.values()].map(toHex));
    expect(new Set(await keysOf(server.client(KeyAdminService, acme)))).toEqual(new Set(answered));
    expect(answered.length).toBeGreaterThanOrEqual(200);
    await server.end('SIGTERM');
  });
});

describe('SIGTERM with a notice for balancers', () => {
  test('health says so first, calls are still taken; a second signal ends at once', async () => {
    const folder = await KeyServerFolder.initialised({ shutdown_notice_seconds: 300 });
    const acme = await makeSigner('acme');
    const server = await folder.serve();
    await server.register(acme);
    const raw = new RawClient(server.address, folder.certificate);
    const token = await bearer(acme, 'key-server', Date.now());
    const ready = async () => (await fetch(`http://${server.observeAddress}/readyz`)).json();
    server.signal('SIGTERM');
    const stopping = { status: 'NOT_SERVING', reasons: ['SHUTTING_DOWN'] };
    await vi.waitFor(async () => expect(await ready()).toEqual(stopping), { timeout: 60_000 });
    const method = 'cvmp.v1.KeyAdminService/ListKeys';
    expect(told(await raw.unary(method, new Uint8Array(), token))).toBe('OK');
    expect(await server.end('SIGTERM')).toBe(1);
    // The store stands that: it opens, and nothing is missing.
    const again = await folder.serve();
    expect(await keysOf(again.client(KeyAdminService, acme))).toEqual([]);
    expect(await again.end('SIGKILL')).toBe(null);
  });
});

async function keysOf(client: Client<typeof KeyAdminService>): Promise<string[]> {
  const all: string[] = [];
  let pageToken = '';
  do {
    const page = await client.listKeys({ pageSize: 500, pageToken });
    all.push(...page.keys.map((key) => toHex(key.keyId)));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}
