import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attester } from '#agent/attester/attester.js';
import { connectSession } from '#agent/session/client.js';
import {
  configDocument,
  expectedMeasurement,
  type Launch,
  signedIdBlock,
} from '#cli/cvm/launch.js';
import { CvmpError } from '#core/errors.js';
import { encodeCmw } from '#core/rats/cmw.js';
import { snpCollection } from '#core/snp/evidence.js';
import { crypto } from '#crypto';
import { SecurityProcessor } from '#sim/security-processor.js';
import { launchInputs } from '#wire/launch.js';
import type { Actor, Stage } from './stage.js';

/** A guest on the host's own security processor, whose owner may change what it reports. */
export interface Attacker {
  /**
   * Opens a session with the Key Server in the real protocol.
   * @param change made to the report after the processor signed it
   * @returns `accepted`, or the code of the refusal
   */
  attest(change?: (report: Uint8Array) => void): Promise<string>;
}

/**
 * Launches a CVM as the tenant would, but with the host's hand between its hardware and the Key
 * Server: everything is genuine, until a byte is changed.
 */
export async function attacker(
  stage: Stage,
  owner: Actor,
  cvmName: string,
  launch: Launch,
): Promise<Attacker> {
  const hardware = join(stage.dev.layout.platform.folder, 'hardware', 'processor');
  const processor = SecurityProcessor.restore(new Uint8Array(await readFile(hardware)), Date.now);
  const document = await configDocument(owner.profile, cvmName);
  const { kernelDigest, initrdDigest, cmdline } = launch.image;
  const guestPolicy = 0x30000n;
  const guest = await processor.launch({
    inputs: launchInputs({ ...launch, kernelDigest, initrdDigest, cmdline }, launch.firmware),
    guestPolicy,
    hostData: crypto.hash('sha256', document),
    ...(await signedIdBlock(owner.profile, expectedMeasurement(launch), 2)),
  });
  const [host = '', port = ''] = owner.profile.keyServer!.address.split(':');
  return {
    async attest(change) {
      const attester: Attester = {
        profiles: ['snp'],
        async evidence(reportData) {
          const { report, certTable } = await guest.report({ reportData, vmpl: 0 });
          change?.(report);
          return encodeCmw(snpCollection(report, certTable));
        },
        close: () => undefined,
      };
      try {
        const session = await connectSession({
          keyServer: { host, port: Number(port) },
          ca: undefined,
          attester,
          configDocument: document,
          agentBuild: 'attacker',
          randomBytes: crypto.randomBytes,
        });
        session.close();
        return 'accepted';
      } catch (error) {
        if (error instanceof CvmpError) return error.code;
        throw error;
      }
    },
  };
}
