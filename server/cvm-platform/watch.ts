import { CvmpError } from '#core/errors.js';
import type { GuestStatusResponse } from '#gen/cvmp/v1/guest_pb.js';
import type { Guests } from './guests/guests.js';
import type { Cvm } from './lifecycle/cvm.js';
import type { Registry } from './lifecycle/registry.js';

/** A CVM as its tenant sees it. */
export interface CvmView {
  readonly cvm: Cvm;
  /** Last words of its Key Agent. */
  readonly agent: GuestStatusResponse | undefined;
  /** True in the last view of a CVM that was deleted. */
  readonly gone: boolean;
}

/** A watcher that reads slower than this many changes is ended. */
const queuedMax = 1024;

/**
 * The CVMs asked for as they are now, then each change; ends with `signal`, or when the one CVM
 * that was asked for is gone.
 * @param only id of one CVM; undefined: all of the tenant
 * @throws CvmpError RATE where the reader is too slow
 */
export async function* watchCvms(
  sources: { readonly registry: Registry; readonly guests: Guests },
  tenantId: string,
  only: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<CvmView> {
  const { registry, guests } = sources;
  const isWanted = (cvm: Cvm) =>
    cvm.tenantId === tenantId && (only === undefined || cvm.cvmId === only);
  const view = (cvm: Cvm, gone: boolean) => ({ cvm, agent: guests.status(cvm.cvmId), gone });
  let queue: CvmView[] = [];
  let lost = false;
  let wake: () => void = () => {};
  const add = (cvm: Cvm | undefined, gone: boolean) => {
    if (cvm === undefined || !isWanted(cvm)) return;
    if (queue.length < queuedMax) queue.push(view(cvm, gone));
    else lost = true;
    wake();
  };
  // Listening begins before the first look, so that nothing is missed in between.
  const ends = [
    registry.onChange(({ cvm, gone }) => add(cvm, gone)),
    guests.onChange((cvmId) => add(registry.get(cvmId), false)),
  ];
  const aborted = () => wake();
  signal.addEventListener('abort', aborted, { once: true });
  let views = registry
    .ofTenant(tenantId)
    .filter(isWanted)
    .map((cvm) => view(cvm, false));
  try {
    while (!signal.aborted) {
      for (const next of views) {
        yield next;
        if (next.gone && only !== undefined) return;
      }
      if (lost) throw new CvmpError('RATE', `the watcher is ${queuedMax} changes behind`);
      if (queue.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      views = queue;
      queue = [];
    }
  } finally {
    for (const end of ends) end();
    signal.removeEventListener('abort', aborted);
  }
}
