import { diskHeader } from './disk.js';
import { auditMark, auditSince, boot, type CvmSeen, done, keysOf, refusedBoot } from './look.js';
import type { Stage } from './stage.js';
import type { Story } from './story.js';

/** What the first chapters leave for the later ones. */
export interface Provisioned {
  readonly cvm: CvmSeen;
  readonly keyId: string;
}

/** Figures 1 and 2: what is offered, and a CVM of it. */
export async function createdCvm(story: Story, stage: Stage): Promise<void> {
  story.chapter('A CVM is created');
  await features(story, stage);
  await refusedFeature(story, stage);
  await created(story, stage);
  await withoutPolicy(story, stage);
}

async function features(story: Story, { demo }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.1, Figure 1',
      title: 'Features',
      command: 'cvmp feature list',
      asked: 'CVMFeatureRequest: what can CVMs be here?',
      answeredBy: 'CVM Platform, CVMFeatureResponse',
      proves: "nothing yet: it is the provider's word; what matters is proven by evidence later",
    },
    async (found) => {
      const { json } = await done(demo, 'feature list');
      const [tee] = json.tee_features;
      found.expect('TEE', tee.tee, 'sev-snp');
      found.expect('marked as simulated', tee.simulated, true);
      const features = ['secure_boot', 'live_migration', 'auxilary_firmware', 'bios', 'svn'];
      found.require(
        'all five features of the draft are answered',
        features.every((name) => tee[name] !== undefined),
      );
      found.expect('SVN by ID block', tee.svn.id_block, true);
      found.note('images', json.images.map((image: { name: string }) => image.name).join(', '));
    },
  );
}

async function refusedFeature(story: Story, { demo }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.1',
      title: 'A feature that is not offered is refused, not dropped',
      command: 'cvmp cvm create web --image sample-v1 --svn 1 --live-migration',
      asked: 'CVMCreateRequest with LiveMigration',
      answeredBy: 'CVM Platform: FEATURE_UNSUPPORTED',
      proves: 'a tenant gets what it asked for, or nothing',
    },
    async (found) => {
      const line = 'cvm create web --image sample-v1 --svn 1 --live-migration';
      const { code, json } = await demo.cvmp(line);
      found.expect('exit code', code, 1);
      found.expect('code', json.error.code, 'FEATURE_UNSUPPORTED');
      found.expect('CVMs now', (await done(demo, 'cvm list')).json.cvms.length, 0);
    },
  );
}

async function created(story: Story, { demo }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.2, Figure 2',
      title: 'A CVM is created, its measurement recomputed by the tenant',
      command: 'cvmp cvm create web --image sample-v1 --svn 1',
      asked: 'CVMCreateRequest with a config document and an ID block for SVN 1',
      answeredBy: 'CVM Platform, CVMCreateResponse with everything that enters the measurement',
      proves: 'what will be launched is what the tenant meant; it is not started yet',
    },
    async (found) => {
      const { json } = await done(demo, 'cvm create web --image sample-v1 --svn 1');
      found.expect('state', json.cvm.state, 'defined');
      const measured = (await done(demo, 'measure snp --image sample-v1')).json.measurement;
      found.expect('measurement, computed here', json.cvm.predicted_measurement, measured);
      found.expect('CVMs now', (await done(demo, 'cvm list')).json.cvms.length, 1);
    },
  );
}

async function withoutPolicy(story: Story, { demo }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.3.1; protocol.md, Keying Policy',
      title: 'Without a Keying Policy it gets no key',
      command: 'cvmp cvm start web --wait',
      asked: 'its Key Agent attests to the Key Server',
      answeredBy: 'Key Server: NO_POLICY',
      proves: 'nothing is released that the tenant did not allow',
    },
    async (found) => {
      await refusedBoot(demo, 'cvm start web', 'NO_POLICY', found);
      found.expect('keys on the Key Server', (await keysOf(demo)).length, 0);
    },
  );
}

/** Figures 3 to 5: policy, allocation, acquirement. */
export async function keyedCvm(story: Story, stage: Stage): Promise<Provisioned> {
  story.chapter('It gets its key');
  await policySet(story, stage);
  const made = await allocated(story, stage);
  await acquired(story, stage, made);
  await asked(story, stage);
  return made;
}

async function policySet(story: Story, { demo, dev }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.3.1, Figure 3',
      title: 'The tenant sets a Keying Policy',
      command: 'cvmp policy set policy.yaml',
      asked: 'SetKeyPolicy, signed by the tenant',
      answeredBy: 'Key Server, PolicyResponse, signed by its identity key',
      proves: 'only the tenant says which measurements and SVNs get keys; the server holds it so',
    },
    async (found) => {
      const { json } = await done(demo, `policy set ${dev.layout.policy}`);
      found.expect('in force', json.response.accepted, true);
      found.expect('version', json.response.version, '1');
      const again = await done(demo, `policy set ${dev.layout.policy}`);
      found.expect('set again, it changes', again.json.changed, false);
      const shown = await done(demo, 'policy show sample');
      found.expect('digest that the server holds', shown.json.digest, json.response.digest);
    },
  );
}

async function allocated(story: Story, stage: Stage): Promise<Provisioned> {
  const { demo } = stage;
  let made: Provisioned | undefined;
  await story.step(
    {
      source: 'draft s.3.3.2, Figure 4',
      title: 'The Key Agent attests and allocates; the disk is formatted and opened',
      command: 'cvmp cvm stop web && cvmp cvm start web --wait',
      asked: 'Session, then KeyAllocRequest',
      answeredBy: 'Key Server, KeyAllocResponse: a KeyID and the Security Key for SVN 1',
      proves: 'genuine evidence, bound to this TLS connection and config, opens the session',
    },
    async (found) => {
      await done(demo, 'cvm stop web');
      const mark = await auditMark(demo);
      const { outcome, cvm } = await boot(demo, 'cvm start web');
      found.expect('outcome', outcome, 'delivered');
      found.expect('disk', cvm.agent.disk_action, 'formatted');
      found.expect('level that the evidence proves', cvm.agent.level, 1);
      const [key] = await keysOf(demo);
      found.expect('key state', key?.state, 'active');
      found.expect('KeyID of the agent', cvm.agent.key_id, key?.key_id ?? '');
      const header = await diskHeader(stage, cvm.cvm_id);
      found.note('disk backend', header.backend);
      found.expect('disk header', header.slots, [{ keyId: cvm.agent.key_id, svn: 1 }]);
      const log = await auditSince(demo, mark, 'web');
      found.expect(
        'audit',
        log.map((e) => (e.granted ? e.operation : e.code)),
        ['attest', 'key_alloc', 'key_confirm'],
      );
      made = { cvm, keyId: cvm.agent.key_id };
    },
  );
  return made!;
}

async function acquired(story: Story, { demo }: Stage, made: Provisioned): Promise<void> {
  await story.step(
    {
      source: 'draft s.3.3.3, Figure 5',
      title: 'Reboot: the Key Agent acquires the same key and the disk opens',
      command: 'cvmp cvm stop web && cvmp cvm start web --wait',
      asked: 'Session, then KeyAcquireRequest with the KeyID in the disk header',
      answeredBy: 'Key Server, KeyAcquireResponse',
      proves: "the key outlives the CVM's memory: the header that was written opens again",
    },
    async (found) => {
      await done(demo, 'cvm stop web');
      const mark = await auditMark(demo);
      const { outcome, cvm } = await boot(demo, 'cvm start web');
      found.expect('outcome', outcome, 'delivered');
      found.expect('disk', cvm.agent.disk_action, 'opened');
      found.expect('KeyID', cvm.agent.key_id, made.keyId);
      found.expect('keys on the Key Server', (await keysOf(demo)).length, 1);
      const log = await auditSince(demo, mark, 'web');
      found.require(
        'the audit has key_acquire, and no new allocation',
        log.some((e) => e.operation === 'key_acquire' && e.granted) &&
          !log.some((e) => e.operation === 'key_alloc'),
      );
    },
  );
}

async function asked(story: Story, { demo, dev }: Stage): Promise<void> {
  await story.step(
    {
      source: 'draft-00 s.2.4; protocol.md, A tenant asks a running CVM',
      title: 'The tenant asks the running CVM itself',
      command: 'cvmp cvm verify web --policy policy.yaml',
      asked: 'CVMVerify with a fresh nonce; the platform only relays',
      answeredBy: 'the CVM, with an attestation report over the nonce',
      proves:
        "this very CVM runs this very image on (simulated) SEV-SNP, bound to the tenant's config",
    },
    async (found) => {
      const { json } = await done(demo, `cvm verify web --policy ${dev.layout.policy}`);
      found.expect('verdict', json.verdict, 'cvm');
      found.expect('SVN level by the policy', json.appraisal.level, 1);
      found.expect('measurement recomputed', json.launch_recomputed, true);
    },
  );
}
