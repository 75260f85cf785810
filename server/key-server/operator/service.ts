import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { CvmpError } from '#core/errors.js';
import { OperatorService, ServerState } from '#gen/cvmp/v1/operator_pb.js';
import { type BoundService, bindService } from '#server/host/handlers.js';

export interface OperatorParts {
  /** Why the store cannot be written any more; undefined while all is well. */
  readonly failure: () => CvmpError | undefined;
  /** Milliseconds since the epoch. */
  readonly started: number;
}

/** OperatorService: what is asked of a running server on its local socket. */
export function operatorService({ failure, started }: OperatorParts): BoundService {
  return bindService(OperatorService, {
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
