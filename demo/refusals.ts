import { join } from 'node:path';
import { guestFeatures, imageFirmware, type Launch, snpOffer } from '#cli/cvm/launch.js';
import { reportFields } from '#core/snp/layout.js';
import { TeeType } from '#gen/cvmp/v1/evidence_pb.js';
import { attacker } from './attacker.js';
import type { Provisioned } from './figures.js';
import { auditMark, auditSince, boot, done, keysOf, refusedBoot } from './look.js';
import { forwarder, relayInTheMiddle } from './relay.js';
import { type Actor, rerouted, type Stage } from './stage.js';
import type { Story } from './story.js';

/** Sample image 2 with one vCPU, as the policy admits it. */
async function sampleLaunch({ servers }: Actor): Promise<Launch> {
  const features = await servers.cvms().cVMFeature({ teeTypes: [TeeType.SEV_SNP] });
  const { vcpuTypes, vmmType } = snpOffer(features);
  const image = features.images.find(({ name }) => name === 'sample-v2')!;
  return {
    image,
    firmware: await imageFirmware(servers.cvms(), image, undefined),
    firmwareDigest: image.firmwareDigest,
    vcpus: 1,
    vcpuType: vcpuTypes[0]!,
    vmmType,
    guestFeatures,
  };
}

/** What must not work, each with the control that shows why. */
export async function refused(story: Story, stage: Stage, made: Provisioned): Promise<void> {
  const { demo } = stage;
  story.chapter('What is refused');
  await story.step(
    {
      source: 'draft s.5.1; protocol.md, Evidence',
      title: 'A tampered report is refused',
      asked: 'the real protocol, spoken by the host: one bit of MEASUREMENT flipped in the report',
      answeredBy: 'Key Server: EVIDENCE_SIGNATURE_INVALID',
      proves: 'who owns the machine cannot speak for the hardware',
    },
    async (found) => {
      const host = await attacker(stage, demo, 'tampered', await sampleLaunch(demo));
      found.expect('unchanged report', await host.attest(), 'accepted');
      const flip = (report: Uint8Array) => {
        report[reportFields.MEASUREMENT.offset]! ^= 1;
      };
      const mark = await auditMark(demo);
      found.expect('one bit flipped', await host.attest(flip), 'EVIDENCE_SIGNATURE_INVALID');
      // Nothing in forged evidence is believed, so it is no tenant's to see.
      found.expect("newest record in this tenant's audit, still", await auditMark(demo), mark);
    },
  );
  await story.step(
    {
      source: 'draft s.3.3.1; protocol.md, Evidence',
      title: 'A CVM with another measurement is refused',
      command: 'cvmp cvm create other --image sample-v2 --svn 2 --vcpus 2 --wait',
      asked: 'Session by a genuine CVM of the tenant that the policy does not list',
      answeredBy: 'Key Server: POLICY_MEASUREMENT',
      proves: 'genuine is not enough: it must be what the tenant admitted',
    },
    async (found) => {
      const line = 'cvm create other --image sample-v2 --svn 2 --vcpus 2';
      const mark = await auditMark(demo);
      await refusedBoot(demo, line, 'POLICY_MEASUREMENT', found);
      const [entry] = await auditSince(demo, mark, 'other');
      const codes = new Set(entry?.failed_checks.map((check) => check.code));
      found.expect('failed checks that the tenant sees', [...codes], ['POLICY_MEASUREMENT']);
    },
  );
  await otherTenant(story, stage, made);
  await relays(story, stage);
}

async function otherTenant(story: Story, { demo, mallory }: Stage, made: Provisioned) {
  const line = `cvm create thief --image sample-v2 --svn 2 --key-id ${made.keyId}`;
  await story.step(
    {
      source: 'protocol.md, Callers',
      title: "Another tenant's KeyID is refused",
      command: `cvmp ${line} --wait  (as tenant mallory)`,
      asked: "KeyAllocRequest naming the first tenant's KeyID, by a genuine CVM of the second",
      answeredBy: 'Key Server: NOT_FOUND, the same as for a KeyID that does not exist',
      proves: 'the tenant comes from the evidence; no request field can name another',
    },
    async (found) => {
      const policy = mallory.profile.file.replace('cvmp.yaml', 'policy.yaml');
      await done(mallory, `policy set ${policy}`);
      await refusedBoot(mallory, line, 'NOT_FOUND', found);
      found.expect('keys of the second tenant', (await keysOf(mallory)).length, 0);
      const shown = await mallory.cvmp(`key show ${made.keyId}`);
      found.expect('its tenant cannot look at it either', shown.json.error.code, 'NOT_FOUND');
      found.expect('keys of the first', (await keysOf(demo)).length, 1);
      const own = await boot(mallory, 'cvm create honest --image sample-v2 --svn 2');
      found.expect('without the KeyID, its CVM is', own.outcome, 'delivered');
    },
  );
}

async function relays(story: Story, stage: Stage): Promise<void> {
  const { demo } = stage;
  const address = demo.profile.keyServer!.address;
  await story.step(
    {
      source: 'draft s.5.1; protocol.md, Binding',
      title: 'A relay that opens TLS is refused',
      command:
        'cvmp cvm create relayed --image sample-v2 --svn 2 --wait  (the host puts a relay in between)',
      asked:
        'Session by a genuine, admitted CVM, through a relay that passes every frame on unchanged',
      answeredBy: 'Key Server: BINDING_MISMATCH',
      proves: 'the evidence names the TLS connection: nobody can sit in the middle',
    },
    async (found) => {
      const middle = await relayInTheMiddle(address);
      try {
        const victim = await rerouted(demo, join(stage.folder), middle.address);
        const line = 'cvm create relayed --image sample-v2 --svn 2';
        const { outcome, cvm } = await boot(victim, line);
        found.expect('outcome', outcome, 'refused');
        found.expect('code that the Key Agent got', cvm.agent.code, 'BINDING_MISMATCH');
        victim.servers.close();
      } finally {
        await middle.close();
      }
      const through = await forwarder(address);
      try {
        const customer = await rerouted(demo, stage.folder, through.address);
        const line = 'cvm create forwarded --image sample-v2 --svn 2';
        const { outcome } = await boot(customer, line);
        found.expect('through a forwarder that leaves TLS alone', outcome, 'delivered');
        customer.servers.close();
      } finally {
        await through.close();
      }
    },
  );
}
