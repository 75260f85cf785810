import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ServerState } from '#gen/cvmp/v1/operator_pb.js';
import type { ProgramCommand } from '#server/host/program.js';
import { callOperator } from './client.js';
import { rollbackCommands } from './log.js';

const states: Readonly<Record<ServerState, string>> = {
  [ServerState.UNSPECIFIED]: 'unknown',
  [ServerState.SERVING]: 'serving',
  [ServerState.SEALED]: 'sealed',
  [ServerState.FAILED]: 'failed',
};

/** Commands that ask the running server. @param socketOf path of its operator socket */
export function operatorCommands<C>(
  socketOf: (config: C) => string,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    ...rollbackCommands(socketOf),
    reload: {
      summary: 'Have the running server read its configuration and certificates again.',
      run: async (config) => {
        const path = socketOf(config);
        const { applied, needRestart } = await callOperator(path, (c) => c.reloadServer({}));
        const list = (names: readonly string[]) => (names.length === 0 ? '-' : names.join(', '));
        return [`applied: ${list(applied)}`, `need a restart: ${list(needRestart)}`];
      },
    },
    status: {
      summary: 'How the running server is.',
      run: async (config) => {
        const status = await callOperator(socketOf(config), (client) => client.serverStatus({}));
        const { state, reason, started } = status;
        const lines = [`state: ${states[state]}`];
        if (reason !== '') lines.push(`reason: ${reason}`);
        if (started !== undefined) lines.push(`started: ${timestampDate(started).toISOString()}`);
        return lines;
      },
    },
  };
}
