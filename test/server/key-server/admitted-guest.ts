import { thumbprint } from '#core/cose/key.js';
import { encodeConfigDocument } from '#core/rats/config-document.js';
import { crypto } from '#crypto';
import { PolicyService } from '#gen/cvmp/v1/policy_pb.js';
import type { Signer } from '../../fakes/callers.js';
import {
  simulatedProcessor,
  testGuestPolicy,
  testLaunchInputs,
} from '../../fakes/simulated-hardware.js';
import type { KeyServerFolder, KeyServerProcess } from './process.js';
import { levels, signedPolicy } from './state.js';

/** A guest of the server in `folder`, admitted by the first policy of acme. */
export async function admittedGuest(
  folder: KeyServerFolder,
  server: KeyServerProcess,
  acme: Signer,
) {
  const configDocument = encodeConfigDocument({
    tenantId: 'acme',
    cvmName: 'web-1',
    keyServers: [thumbprint(folder.identity)],
    policyAnchor: thumbprint(acme.publicKey),
  });
  const processor = await simulatedProcessor('Genoa', Date.now);
  const guest = await processor.launch({
    inputs: testLaunchInputs,
    guestPolicy: testGuestPolicy,
    hostData: crypto.hash('sha256', configDocument),
  });
  await server.register(acme);
  const signed = await signedPolicy(acme.key, {
    levels: levels(8),
    appraisal: {
      allowSimulated: true,
      snp: { measurements: [{ digest: guest.measurement, imageSvn: 1, name: 'image' }] },
    },
  });
  await server.client(PolicyService, acme).setKeyPolicy({ signedPolicy: signed });
  return { guest, configDocument };
}
