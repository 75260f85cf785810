import { createServer } from 'node:net';
import { join } from 'node:path';
import { driverContract } from '../../../contracts/driver.js';
import { FakeHost } from '../../../fakes/host-driver.js';
import { temporaryFolder } from '../../../run-folder.js';
import { definitionOf, imageOf } from '../definitions.js';

// The fake stands in for real hosts in the lifecycle tests, so it must keep the contract as well.
driverContract('fake', async () => {
  const host = new FakeHost();
  const guest = createServer();
  const socket = join(temporaryFolder('guest'), 's');
  await new Promise<void>((resolve) => guest.listen(socket, resolve));
  return {
    open: async () => host.driver(),
    definition: (cvmId) => {
      host.guestSockets.set(cvmId, socket);
      return definitionOf(cvmId);
    },
    guestReady: async () => {},
    otherImage: imageOf(2),
    crash: async (cvmId) => host.end(cvmId, { run: 'crashed', reason: 'panic' }),
    close: () => new Promise<void>((resolve) => guest.close(() => resolve())),
  };
});
