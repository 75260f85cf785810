import { onTestFinished } from 'vitest';
import { thumbprint } from '#core/cose/key.js';
import type { EcPrivateKey } from '#core/crypto.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { guestPolicyBits } from '#core/snp/layout.js';
import { crypto } from '#crypto';
import { accessService } from '#server/host/callers/access-service.js';
import { tenantService } from '#server/host/callers/tenants.js';
import { auditService } from '#server/key-server/audit-service.js';
import { keyAdminService } from '#server/key-server/key-admin-service.js';
import { keyService } from '#server/key-server/key-service.js';
import { policyService } from '#server/key-server/policy-service.js';
import type { KeyServerState } from '#server/key-server/release/contract.js';
import type { SessionLimits } from '#server/key-server/session/stream.js';
import { tenantFacts } from '#server/key-server/tenants/facts.js';
import { trustAnchors } from '#server/key-server/verifier/anchors.js';
import { Verifier, type VerifierOptions } from '#server/key-server/verifier/attest.js';
import { nothingHeld } from '#server/key-server/verifier/held.js';
import { noSource } from '#server/key-server/verifier/source.js';
import type { SimulatedGuest } from '#sim/guest.js';
import type { SecurityProcessor } from '#sim/security-processor.js';
import { RawAgent, type RawAgentOptions } from '../../fakes/raw-agent.js';
import {
  simulatedAuthority,
  simulatedProcessor,
  testGuestPolicy,
  testLaunchInputs,
} from '../../fakes/simulated-hardware.js';
import { startTestHost, type TestHost } from '../host/harness.js';
import { newPlace, openPlace, type Place, signedPolicy } from './state.js';

export const limits: SessionLimits = {
  handshakeSeconds: 30,
  challengeSeconds: 60,
  idleSeconds: 60,
  inFlightMax: 4,
  sessionsMax: 16,
  attestationsPerHourMax: 20,
};

/** A Key Server on loopback with a real store, and a host with simulated hardware beside it. */
export interface TestKeyServer {
  readonly place: Place;
  readonly state: KeyServerState;
  readonly t: TestHost;
  readonly processor: SecurityProcessor;
  /** Of tenant acme. */
  readonly tenantKey: EcPrivateKey;
  /** Launches a guest whose config document names this server; `web-1` of acme unless told. */
  launch(change?: GuestChange): Promise<Launched>;
  /** A config document that names this server; `web-1` of acme unless told. */
  configDocument(change?: GuestChange): Uint8Array;
  /** Sets the first policy of acme: everything that `launch` launches is admitted. */
  setPolicy(changes?: Parameters<typeof signedPolicy>[1]): Promise<void>;
  agent(
    launched: Pick<RawAgentOptions, 'guest' | 'configDocument' | 'evidence' | 'instanceKey'>,
    options?: { suites?: readonly number[] },
  ): Promise<RawAgent>;
}

export interface GuestChange {
  readonly tenantId?: string;
  readonly cvmName?: string;
  readonly policyAnchor?: Uint8Array;
  readonly keyServers?: readonly Uint8Array[];
  readonly cmdline?: string;
  /** Report id of the migration agent that the guest is bound to. */
  readonly migrationAgent?: Uint8Array;
}

export interface Launched {
  readonly guest: SimulatedGuest;
  readonly configDocument: Uint8Array;
}

/** Levels by SNP firmware component, as the simulated Genoa has it. */
export async function startKeyServer(
  change: Partial<SessionLimits> = {},
  verifying: Partial<
    Pick<VerifierOptions, 'anchors' | 'endorsements' | 'source' | 'revocation'>
  > = {},
  placed: Partial<Pick<Place, 'onRead' | 'quotas'>> = {},
): Promise<TestKeyServer> {
  const place = await newPlace('key-server');
  Object.assign(place, placed);
  place.now = Date.now();
  const state = await openPlace(place);
  onTestFinished(() => state.close());
  const authority = await simulatedAuthority();
  const processor = await simulatedProcessor('Genoa', Date.now);
  const now = () => place.now;
  const verifier = new Verifier({
    ...state,
    anchors: trustAnchors({
      roots: [{ name: 'ark', bytes: authority.arkCertificate }],
      tpmMakers: [],
    }),
    endorsements: nothingHeld,
    source: noSource,
    revocation: 'when_held',
    ...verifying,
    now,
  });
  const parts = {
    identity: state.identity,
    verifier,
    keys: state.keys,
    guard: state.guard,
    notices: state.notices,
    quotas: state.quotas,
    limits: { ...limits, ...change },
    now,
  };
  const t = await startTestHost(
    () => [
      keyService(parts),
      policyService({ ...state, now }),
      keyAdminService({ ...state, now: () => place.now }),
      auditService(state),
      tenantService(state.tenants, tenantFacts(state)),
      accessService(state.tenants, tenantFacts(state), now),
    ],
    { grpc: { messageBytesMax: 2 * 1024 * 1024 } },
    state.tenants,
  );
  const tenantKey = t.acme.key;
  const identity = thumbprint({ curve: state.identity.curve, point: state.identity.publicPoint });

  const configDocumentOf = (guest: GuestChange = {}) =>
    encodeConfigDocument({
      tenantId: guest.tenantId ?? 'acme',
      cvmName: guest.cvmName ?? 'web-1',
      keyServers: guest.keyServers ?? [identity],
      policyAnchor: guest.policyAnchor ?? thumbprint(t.acme.publicKey),
    });
  const launch = async (guest: GuestChange = {}): Promise<Launched> => {
    const configDocument = configDocumentOf(guest);
    const { boot } = testLaunchInputs;
    return {
      configDocument,
      guest: await processor.launch({
        inputs: {
          ...testLaunchInputs,
          boot: { ...boot!, cmdline: guest.cmdline ?? boot!.cmdline },
        },
        guestPolicy:
          testGuestPolicy | (guest.migrationAgent === undefined ? 0n : guestPolicyBits.MIGRATE_MA),
        migrationAgent: guest.migrationAgent,
        hostData: crypto.hash('sha256', configDocument),
      }),
    };
  };

  return {
    place,
    state,
    t,
    processor,
    tenantKey,
    launch,
    configDocument: configDocumentOf,
    async setPolicy(changes = {}) {
      const { guest } = await launch();
      const signed = await signedPolicy(tenantKey, {
        appraisal: {
          allowSimulated: true,
          snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
        },
        ...changes,
      });
      await state.policies.set('acme', signed, { requestId: 'test' });
    },
    async agent(launched, options = {}) {
      const agent = await RawAgent.connect({
        address: t.host.grpcAddress,
        ca: t.certificate,
        ...launched,
        ...options,
      });
      onTestFinished(() => agent.close());
      return agent;
    },
  };
}
