import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ServerState } from '#gen/cvmp/v1/operator_pb.js';
import type { Dialog, ProgramCommand } from '#server/host/program.js';
import { callOperator } from './client.js';
import { rollbackCommands } from './log.js';
import { type KeptOf, sealingCommands } from './sealing.js';

/** @throws CvmpError MASTER_KEY, RATE, SEAL_STATE, and why the store does not open */
async function unseal(path: string, { readSecret }: Dialog): Promise<readonly string[]> {
  const { state, needed, masterKeyProvider } = await callOperator(path, (c) => c.serverStatus({}));
  const isWanted = state === ServerState.SEALED && needed > 0;
  const prompt = masterKeyProvider === 'shamir' ? 'share' : 'passphrase';
  const secret = isWanted ? await readSecret(prompt) : new Uint8Array();
  try {
    const told = await callOperator(path, (client) => client.unseal({ secret }));
    return [told.unsealed ? 'unsealed' : `entered: ${told.entered} of ${told.needed}`];
  } finally {
    secret.fill(0);
  }
}

const states: Readonly<Record<ServerState, string>> = {
  [ServerState.UNSPECIFIED]: 'unknown',
  [ServerState.SERVING]: 'serving',
  [ServerState.SEALED]: 'sealed',
  [ServerState.FAILED]: 'failed',
};

/**
 * Commands that ask the running server.
 * @param socketOf path of its operator socket
 * @param keptOf that, and how its master key is to be kept
 */
export function operatorCommands<C>(
  socketOf: (config: C) => string,
  keptOf: KeptOf<C>,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    ...rollbackCommands(socketOf),
    ...sealingCommands(keptOf),
    reload: {
      summary: 'Have the running server read its configuration and certificates again.',
      run: async (config) => {
        const path = socketOf(config);
        const { applied, needRestart } = await callOperator(path, (c) => c.reloadServer({}));
        const list = (names: readonly string[]) => (names.length === 0 ? '-' : names.join(', '));
        return [`applied: ${list(applied)}`, `need a restart: ${list(needRestart)}`];
      },
    },
    unseal: {
      summary: 'Enter the passphrase, or one share, of the master key into the sealed server.',
      run: (config, dialog) => unseal(socketOf(config), dialog),
    },
    seal: {
      summary: 'End all sessions and forget every key, until the server is unsealed.',
      run: async (config) => {
        await callOperator(socketOf(config), (client) => client.seal({}));
        return ['sealed'];
      },
    },
    status: {
      summary: 'How the running server is.',
      run: async (config) => {
        const status = await callOperator(socketOf(config), (client) => client.serverStatus({}));
        const { state, reason, started } = status;
        const lines = [`state: ${states[state]}`, `master key: ${status.masterKeyProvider}`];
        if (state === ServerState.SEALED && status.needed > 0) {
          lines.push(`entered: ${status.entered} of ${status.needed}`);
        }
        if (reason !== '') lines.push(`reason: ${reason}`);
        if (started !== undefined) lines.push(`started: ${timestampDate(started).toISOString()}`);
        return lines;
      },
    },
  };
}
