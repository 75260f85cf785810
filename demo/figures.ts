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
export async function createdCvm(story: Story, { demo }: Stage): Promise<void> {
  story.chapter('A CVM is created');
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
      const measured = (await done(demo, 'image measure --image sample-v1')).json.measurement;
      found.expect('measurement, computed here', json.cvm.predicted_measurement, measured);
      found.expect('CVMs now', (await done(demo, 'cvm list')).json.cvms.length, 1);
    },
  );
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
  const { demo, dev } = stage;
  story.chapter('It gets its key');
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
  let provisioned: Provisioned | undefined;
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
      provisioned = { cvm, keyId: cvm.agent.key_id };
    },
  );
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
      found.expect('KeyID', cvm.agent.key_id, provisioned!.keyId);
      found.expect('keys on the Key Server', (await keysOf(demo)).length, 1);
      const log = await auditSince(demo, mark, 'web');
      found.require(
        'the audit has key_acquire, and no new allocation',
        log.some((e) => e.operation === 'key_acquire' && e.granted) &&
          !log.some((e) => e.operation === 'key_alloc'),
      );
    },
  );
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
  return provisioned!;
}

/** Figure 6, and what the raised floor keeps out. */
export async function updatedCvm(story: Story, stage: Stage, made: Provisioned): Promise<void> {
  const { demo } = stage;
  const { keyId, cvm: first } = made;
  const floor = async () => (await keysOf(demo)).find((key) => key.key_id === keyId);
  story.chapter('Its security version rises');
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
      const key = await floor();
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
      found.expect('floor of the key', (await floor())?.svn_floor, 2);
      const header = await diskHeader(stage, first.cvm_id);
      found.expect('disk header, unchanged', header.slots, [{ keyId, svn: 2 }]);
      await done(demo, 'cvm stop web');
      await done(demo, 'cvm update web --image sample-v2 --svn 2');
      const { cvm } = await boot(demo, 'cvm start web');
      found.expect('with image v2 again, disk', cvm.agent.disk_action, 'opened');
    },
  );
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
