import { isAbsolute } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { CvmpError } from '#core/errors.js';
import { OperatorService, ServerState } from '#gen/cvmp/v1/operator_pb.js';
import { type BoundService, bindService } from '#server/host/handlers.js';
import type { Control } from '#server/host/program.js';
import type { SealGate } from '../sealing/gate.js';
import { logOperatorHandlers } from './log.js';
import { sealingHandlers } from './sealing.js';

export interface OperatorParts {
  readonly gate: SealGate;
  /** Of the service, where systemd runs it. */
  readonly credentialsFolder: string | undefined;
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** @throws CvmpError CONFIG; then nothing has changed */
  readonly reload: Control['reload'];
}

/** OperatorService: what is asked of a running server on its local socket. */
export function operatorService(parts: OperatorParts): BoundService {
  const { gate, started, reload } = parts;
  return bindService(OperatorService, {
    ...logOperatorHandlers(() => gate.demand().state),
    ...sealingHandlers(parts),
    async reloadServer() {
      const { applied, needRestart } = await reload();
      return { applied: [...applied], needRestart: [...needRestart] };
    },
    async *createBackup({ folder }) {
      if (!isAbsolute(folder)) {
        throw new CvmpError('INVALID_FIELD', 'folder is no absolute path', { field: 'folder' });
      }
      for await (const { records, bytes, logSize, isDone } of gate.demand().state.backup(folder)) {
        yield {
          records: BigInt(records),
          bytes: BigInt(bytes),
          logSize: BigInt(logSize),
          done: isDone,
        };
      }
    },
    async serverStatus() {
      const { isSealed, provider, entered, needed } = gate.status;
      const failed = gate.opened?.state.failure();
      const open = failed === undefined ? ServerState.SERVING : ServerState.FAILED;
      return {
        state: isSealed ? ServerState.SEALED : open,
        reason: isSealed ? 'it waits for its master key' : (failed?.message ?? ''),
        started: timestampFromMs(started),
        masterKeyProvider: provider,
        entered,
        needed,
      };
    },

    async unseal({ secret }) {
      const { isSealed, entered, needed } = await gate.enter(secret);
      return { unsealed: !isSealed, entered, needed };
    },

    async seal() {
      await gate.seal();
      return {};
    },
  });
}
