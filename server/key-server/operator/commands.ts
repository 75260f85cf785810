import { timestampDate } from '@bufbuild/protobuf/wkt';
import { ServerState } from '#gen/cvmp/v1/operator_pb.js';
import type { ProgramCommand } from '#server/host/program.js';
import { callOperator } from './client.js';

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
