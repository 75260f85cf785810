import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { CvmpError } from '#core/errors.js';
import { OperatorService, ServerState } from '#gen/cvmp/v1/operator_pb.js';
import { type BoundService, bindService } from '#server/host/handlers.js';
import type { Control } from '#server/host/program.js';
import { type LogOperatorParts, logOperatorHandlers } from './log.js';

export interface OperatorParts extends LogOperatorParts {
  /** Why the store cannot be written any more; undefined while all is well. */
  readonly failure: () => CvmpError | undefined;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** @throws CvmpError CONFIG; then nothing has changed */
  readonly reload: Control['reload'];
}

/** OperatorService: what is asked of a running server on its local socket. */
export function operatorService(parts: OperatorParts): BoundService {
  const { failure, started, reload } = parts;
  return bindService(OperatorService, {
    ...logOperatorHandlers(parts),
    async reloadServer() {
      const { applied, needRestart } = await reload();
      return { applied: [...applied], needRestart: [...needRestart] };
    },
    async serverStatus() {
      const failed = failure();
      return {
        state: failed === undefined ? ServerState.SERVING : ServerState.FAILED,
        reason: failed?.message ?? '',
        started: timestampFromMs(started),
      };
    },
  });
}
