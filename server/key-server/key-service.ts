import { CvmpError } from '#core/errors.js';
import { KeyService } from '#gen/cvmp/v1/key_pb.js';
import { type BoundService, bindService } from '#server/host/handlers.js';
import { type SessionParts, SessionStream } from './session/stream.js';

/** KeyService: agents attest and get their keys (draft-deng-teep-cvmp-01 s.3.3). */
export function keyService(parts: SessionParts): BoundService {
  let open = 0;
  return bindService(KeyService, {
    session(sender, context) {
      if (open >= parts.limits.sessionsMax) {
        throw new CvmpError('RATE', `more than ${parts.limits.sessionsMax} sessions`);
      }
      open += 1;
      const ended = parts.metrics?.sessionOpened();
      return new SessionStream(parts, sender, context, () => {
        open -= 1;
        ended?.();
      });
    },
  });
}
