import { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { encodeCoseKey } from '#core/cose/key.js';
import { createAuthenticator } from '#server/host/callers/authenticate.js';
import type { OidcIssuer } from '#server/host/callers/oidc.js';
import { CallRates, type RateSettings } from '#server/host/callers/rates.js';
import type { TenantRegistry } from '#server/host/callers/tenants.js';
import type { CallRecord } from '#server/host/calls.js';
import type { GrpcLimits } from '#server/host/grpc/listener.js';
import type { BoundService } from '#server/host/handlers.js';
import { type Host, startHost } from '#server/host/host.js';
import { createLog } from '#server/host/log.js';
import type { Observation } from '#server/host/observe/observation.js';
import { selfSigned } from '#server/host/self-signed.js';
import type { WebLimits } from '#server/host/web/listener.js';
import { makeSigner, type Signer } from '../../fakes/callers.js';
import { MemoryTenants } from '../../fakes/tenants.js';

export const audience = 'test-server';

export const grpcLimits: GrpcLimits = {
  connectionsMax: 64,
  streamsPerConnectionMax: 128,
  messageBytesMax: 64 * 1024,
  handshakeSeconds: 5,
  handshakesPerMinuteMax: 10_000,
  idleSeconds: 60,
  keepaliveSeconds: 60,
  keepaliveTimeoutSeconds: 20,
};

export const callRates: RateSettings = {
  callsPerMinutePerAddressMax: 1_000_000,
  callsPerMinutePerTenantMax: 1_000_000,
  attestationCostPerMinuteMax: 1_000_000,
};

export const webLimits: WebLimits = {
  connectionsMax: 64,
  streamsPerConnectionMax: 128,
  messageBytesMax: 64 * 1024,
  handshakeSeconds: 5,
  idleSeconds: 60,
  timeoutSecondsMax: 60,
};

/** A server on loopback with two tenants and an operator, and everything that it wrote. */
export interface TestHost {
  readonly host: Host;
  readonly certificate: string;
  readonly tenants: MemoryTenants;
  readonly operator: Signer;
  readonly acme: Signer;
  readonly globex: Signer;
  readonly records: CallRecord[];
  readonly log: string[];
}

export async function startTestHost(
  services: (parts: { tenants: MemoryTenants }) => readonly BoundService[],
  change: {
    grpc?: Partial<GrpcLimits>;
    web?: Partial<WebLimits>;
    origins?: readonly string[];
    unarySecondsMax?: number;
    rates?: RateSettings;
    issuers?: readonly OidcIssuer[];
    observation?: Observation;
  } = {},
  registry?: TenantRegistry,
): Promise<TestHost> {
  const [operator, acme, globex] = (await Promise.all(
    ['operator', 'acme', 'globex'].map((name) => makeSigner(name)),
  )) as [Signer, Signer, Signer];
  const tenants = new MemoryTenants();
  const known = registry ?? tenants;
  for (const { name, publicKey } of [acme, globex]) {
    await known.register(name, encodeCoseKey(publicKey), { requestId: 'test' });
  }
  const log: string[] = [];
  const records: CallRecord[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      log.push(chunk.toString());
      done();
    },
  });
  const tls = await selfSigned(['localhost', '127.0.0.1'], Date.now());
  const host = await startHost({
    services: services({ tenants }),
    authenticate: createAuthenticator({
      audience,
      operatorKeys: [operator.publicKey],
      issuers: change.issuers ?? [],
      tenants: known,
      now: Date.now,
    }),
    tls,
    clientCertificates: 'both',
    ...(change.rates && { rates: (of) => new CallRates(of, known, Date.now) }),
    callRates: change.rates ?? callRates,
    grpc: {
      endpoint: { host: '127.0.0.1', port: 0 },
      limits: { ...grpcLimits, ...change.grpc },
    },
    web: {
      endpoint: { host: '127.0.0.1', port: 0 },
      limits: { ...webLimits, ...change.web },
      origins: change.origins ?? [],
    },
    unarySecondsMax: change.unarySecondsMax ?? 10,
    ...(change.observation && {
      observation: change.observation,
      observe: { host: '127.0.0.1', port: 0 },
    }),
    log: createLog(audience, 'debug', sink),
    now: Date.now,
    onCall: (record) => records.push(record),
  });
  onTestFinished(() => host.stop(0));
  return {
    host,
    certificate: tls.certificate,
    tenants,
    operator,
    acme,
    globex,
    records,
    log,
  };
}
