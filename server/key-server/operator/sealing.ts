import type { MessageInitShape } from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import type { OperatorService, PrepareMasterKeyRequestSchema } from '#gen/cvmp/v1/operator_pb.js';
import type { Handlers } from '#server/host/handlers.js';
import type { Dialog, ProgramCommand } from '#server/host/program.js';
import { newPassphrase } from '../sealing/asked.js';
import type { SealGate } from '../sealing/gate.js';
import {
  isProviderKind,
  type MasterKeySettings,
  type ProviderSources,
  providerOf,
} from '../sealing/settings.js';
import { callOperator } from './client.js';

export interface SealingParts extends Pick<ProviderSources, 'credentialsFolder'> {
  readonly gate: SealGate;
}

/** What an operator tells a running server of its keys' keys. */
export function sealingHandlers({
  gate,
  credentialsFolder,
}: SealingParts): Pick<
  Handlers<typeof OperatorService>,
  'prepareMasterKey' | 'commitMasterKey' | 'rewrap' | 'copyVault'
> {
  return {
    async prepareMasterKey({ provider, passphrase, shares, module, token, key, ...rest }) {
      if (!isProviderKind(provider)) {
        const field = 'provider';
        throw new CvmpError('INVALID_FIELD', `${field} is ${provider}`, { field });
      }
      const pkcs11 = {
        modulePath: module,
        tokenLabel: token,
        keyLabel: key,
        pinFile: rest.pinFile,
      };
      const settings: MasterKeySettings = { ...rest, provider, total: shares, pkcs11 };
      const choosePassphrase = async () => passphrase;
      const sources = { credentialsFolder, choosePassphrase };
      const prepared = await gate.prepare(providerOf(settings, sources));
      return { preparationId: prepared.id, shares: [...prepared.shares] };
    },
    async *commitMasterKey({ preparationId }) {
      yield* told((tell) =>
        gate.commit(preparationId, (done, total) => tell({ done, total, inForce: false })),
      );
      yield { inForce: true };
    },
    async *rewrap({ tenantId }) {
      const { resealing } = gate.demand().state;
      yield* told((tell) =>
        resealing.rewrap(tenantId, (done) => tell({ done: BigInt(done), finished: false })),
      );
      yield { finished: true };
    },
    async copyVault({ folder }) {
      await gate.demand().state.resealing.copyVault(folder);
      return {};
    },
  };
}

/** The newest thing that some work tells, again and again until it is done. */
async function* told<T>(work: (tell: (news: T) => void) => Promise<void>): AsyncGenerator<T> {
  let news: T | undefined;
  let wake = () => undefined as void;
  let done = false;
  const finished = work((next) => {
    news = next;
    wake();
  }).finally(() => {
    done = true;
    wake();
  });
  // Awaited below; until then its failure is nobody's.
  finished.catch(() => undefined);
  while (!done) {
    const next = news;
    news = undefined;
    if (next !== undefined) yield next;
    else {
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (done || news !== undefined) resolve();
      });
    }
  }
  if (news !== undefined) yield news;
  await finished;
}

/** Where the running server is asked, and how its master key is to be kept. */
export type KeptOf<C> = (config: C) => {
  readonly path: string;
  readonly masterKey: MasterKeySettings;
};

/** `rekey-master`, `rewrap`, `vault copy`. */
export function sealingCommands<C>(keptOf: KeptOf<C>): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    'rekey-master': {
      summary:
        'Give the running server a new master key, kept as store.master_key of this configuration says.',
      run: (config, dialog) => rekeyMaster(keptOf(config), dialog),
    },
    rewrap: {
      summary: 'Give a tenant a new key encryption key, and seal its records anew.',
      positionals: 'TENANT',
      run: (config, { positionals, progress }) =>
        rewrap(keptOf(config).path, only(positionals, 'the tenant'), progress),
    },
    'vault copy': {
      summary:
        'Copy the vault of the running server into an empty folder; destroy the copy before.',
      positionals: 'FOLDER',
      run: async (config, { positionals }) => {
        const folder = only(positionals, 'the folder');
        await callOperator(keptOf(config).path, (client) => client.copyVault({ folder }));
        return [`copied to ${folder}`];
      },
    },
  };
}

function only(positionals: readonly string[], what: string): string {
  const [first] = positionals;
  if (first !== undefined && positionals.length === 1) return first;
  throw new CvmpError('USAGE', `name ${what}`);
}

async function rekeyMaster(
  { path, masterKey }: ReturnType<KeptOf<never>>,
  dialog: Dialog,
): Promise<readonly string[]> {
  const { provider } = masterKey;
  const passphrase = provider === 'passphrase' ? await newPassphrase(dialog) : new Uint8Array();
  const { preparationId, shares } = await callOperator(path, (client) =>
    client.prepareMasterKey(requestOf(masterKey, passphrase)),
  );
  passphrase.fill(0);
  for (const share of shares) dialog.print(share);
  if (shares.length > 0) await handedOver(dialog);
  await callOperator(path, async (client) => {
    for await (const { done, total } of client.commitMasterKey({ preparationId })) {
      if (total > 0) dialog.progress(`${done} of ${total}`);
    }
  });
  return [`master key: ${provider}`];
}

/** The old master key stays in force until every share is with somebody. @throws CvmpError CANCELLED */
async function handedOver({ readSecret }: Dialog): Promise<void> {
  const answer = await readSecret('type yes when each share is with its person');
  if (Buffer.from(answer).toString('latin1').trim() === 'yes') return;
  throw new CvmpError('CANCELLED', 'the old master key stays in force; these shares open nothing');
}

function requestOf(
  { provider, file, credential, threshold, total, pkcs11 }: MasterKeySettings,
  passphrase: Uint8Array,
): MessageInitShape<typeof PrepareMasterKeyRequestSchema> {
  const { modulePath: module, tokenLabel: token, keyLabel: key, pinFile } = pkcs11;
  const place = { file, credential, module, token, key, pinFile };
  return { ...place, provider, passphrase, threshold, shares: total };
}

async function rewrap(
  path: string,
  tenantId: string,
  progress: (line: string) => void,
): Promise<readonly string[]> {
  let records = 0n;
  await callOperator(path, async (client) => {
    for await (const { done, finished } of client.rewrap({ tenantId })) {
      if (finished || done === records) continue;
      records = done;
      progress(`${done} records`);
    }
  });
  return [`${tenantId}: ${records} records under a new key encryption key`];
}
