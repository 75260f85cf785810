import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { parseCheckpoint } from '#core/log/checkpoint.js';
import { leavesMax } from '#core/log/tree.js';
import type { OperatorService } from '#gen/cvmp/v1/operator_pb.js';
import type { Handlers } from '#server/host/handlers.js';
import type { ProgramCommand } from '#server/host/program.js';
import type { LogReading } from '../log/reading.js';
import type { RollbackGuard } from '../log/rollback.js';
import { callOperator } from './client.js';

export interface LogOperatorParts {
  readonly log: Pick<LogReading, 'exportAll' | 'newest'>;
  readonly guard: Pick<RollbackGuard, 'rollback' | 'accept'>;
}

const recordsDefault = 100;

/** What an operator asks of the log of the running server. @param parts throws SEALED */
export function logOperatorHandlers(
  parts: () => LogOperatorParts,
): Pick<Handlers<typeof OperatorService>, 'showRollback' | 'acceptRollback' | 'exportLog'> {
  return {
    async showRollback() {
      const { rollback } = parts().guard;
      if (rollback === undefined) return { noticed: false };
      const { shown, own, time } = rollback;
      const signed = { shown: shown.signed, own: own.signed };
      return { noticed: true, time: timestampFromMs(time), ...signed };
    },
    async acceptRollback({ shownSize }, { requestId }) {
      await parts().guard.accept(numberOf(shownSize, 'shown_size'), requestId);
      return {};
    },
    async exportLog({ afterIndex, pageSize }) {
      const { log } = parts();
      const count = pageSize === 0 ? recordsDefault : pageSize;
      const { signed } = await log.newest();
      const records = await log.exportAll(numberOf(afterIndex, 'after_index'), count);
      return { records: [...records], checkpoint: signed };
    },
  };
}

function numberOf(value: bigint, field: string): number {
  if (value <= BigInt(leavesMax)) return Number(value);
  throw new CvmpError('INVALID_FIELD', `${field} is beyond 2^48`, { field });
}

/** Commands about a checkpoint from the future. @param socketOf path of the operator socket */
export function rollbackCommands<C>(
  socketOf: (config: C) => string,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    'rollback show': {
      summary:
        'Why the running server serves nobody: a checkpoint of its own that it does not know.',
      run: async (config) => {
        const found = await callOperator(socketOf(config), (c) => c.showRollback({}));
        if (!found.noticed) return ['no rollback was noticed'];
        const [shown, own] = [parseCheckpoint(found.shown), parseCheckpoint(found.own)];
        const line = (what: string, { size, root, time }: typeof shown) =>
          `${what}: ${size} records, root ${toHex(root)}, signed ${new Date(time).toISOString()}`;
        return [
          line('shown', shown),
          line('own', own),
          `records that this store does not have: at least ${Math.max(1, shown.size - own.size)}`,
          'The store is an older one, or a copy that went another way. Stop this server and start it on',
          'the newest store. Only where that is lost:',
          `  cvmp-key-server rollback accept ${shown.size} --config FILE`,
        ];
      },
    },
    'rollback accept': {
      summary: 'Take the loss and serve again; SIZE is that of the checkpoint that was shown.',
      positionals: 'SIZE',
      run: async (config, { positionals: [size = ''] }) => {
        if (!/^[0-9]{1,15}$/.test(size)) {
          throw new CvmpError('USAGE', 'SIZE is the number that `rollback show` tells');
        }
        await callOperator(socketOf(config), (c) => c.acceptRollback({ shownSize: BigInt(size) }));
        return [
          'accepted; the log says so',
          'Agents and tenants that keep a lost checkpoint refuse this server until they are told to',
          'forget it (docs/operating/audit.md).',
        ];
      },
    },
  };
}
