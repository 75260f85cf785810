import { ecPublicKey, thumbprint } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { AgentSession, type AgentSessionOptions } from '#core/session/agent.js';
import type { ExportKeyingMaterial } from '#core/session/binding.js';
import { ServerSession, type ServerSessionOptions } from '#core/session/server.js';
import { crypto } from '#crypto';
import { sessionCodec } from '#wire/session.js';

export const nowMs = 1_800_000_000_000;
export const collection = new Uint8Array([0xa0]);

/** A TLS connection's exporter; two connections never give the same. */
export function connection(): ExportKeyingMaterial {
  const secret = crypto.randomBytes(32);
  const text = new TextEncoder();
  return (label, context, length) =>
    crypto.hash('sha256', secret, text.encode(label), context).slice(0, length);
}

export function configDocumentFor(...servers: readonly EcPrivateKey[]): Uint8Array {
  return encodeConfigDocument({
    tenantId: 'acme',
    keyServers: servers.map((key) => thumbprint(ecPublicKey(key.curve, key.publicPoint))),
    policyAnchor: new Uint8Array(32).fill(9),
    cvmName: 'web',
  });
}

/** Both ends over one connection; options of either may be changed. */
export async function ends(
  change: {
    readonly agent?: Partial<AgentSessionOptions>;
    readonly server?: Partial<ServerSessionOptions>;
  } = {},
): Promise<{
  readonly agent: AgentSession;
  readonly server: ServerSession;
  readonly identity: EcPrivateKey;
}> {
  const identity = change.server?.identity ?? (await crypto.generateEcKey('P-256'));
  const exportKeyingMaterial = connection();
  const shared = { codec: sessionCodec, exportKeyingMaterial, evidenceProfiles: ['snp'] };
  const agent = new AgentSession({
    ...shared,
    configDocument: configDocumentFor(identity),
    ...change.agent,
  });
  const server = new ServerSession({ ...shared, identity, ...change.server });
  return { agent, server, identity };
}

/** A whole handshake; both ends are open afterwards. */
export async function handshake(pair: {
  readonly agent: AgentSession;
  readonly server: ServerSession;
}): Promise<{
  /** As the agent was told to attest over. */
  readonly demanded: Uint8Array;
  /** As the server expects it. */
  readonly expected: Uint8Array;
  readonly frames: readonly Uint8Array[];
}> {
  const { agent, server } = pair;
  const init = agent.clientInit();
  const challenge = await server.clientInit(init, nowMs);
  const demand = await agent.challenge(challenge);
  const evidence = agent.evidence(collection, 'test');
  const received = server.evidence(evidence, nowMs);
  const accept = await server.accept();
  await agent.accept(accept);
  const frames = [init, challenge, evidence, accept];
  return { demanded: demand.reportData, expected: received.reportData, frames };
}
