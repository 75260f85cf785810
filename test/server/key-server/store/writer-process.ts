// Opens the store given as argument and commits without end: a counter and an entry for each of its
// versions, in one change. Prints `open` or the code of a refusal, then every acknowledged version.
import { CvmpError } from '#core/errors.js';
import { openLevelStore } from '#server/key-server/store/level.js';
import type { Store } from '#server/key-server/store/store.js';

const inFlight = 16;

async function write(store: Store): Promise<void> {
  const value = new Uint8Array(250);
  let version = (await store.get('counter'))?.version ?? 0;
  const lane = async () => {
    for (;;) {
      const expected = version++;
      const mine = expected + 1;
      const entry = {
        key: `entry/${String(mine).padStart(8, '0')}`,
        value,
        expected: 0,
        version: 1,
      };
      await store.commit({ puts: [{ key: 'counter', value, expected, version: mine }, entry] });
      process.stdout.write(`${mine}\n`);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
}

try {
  const store = await openLevelStore(process.argv[2] ?? '');
  process.stdout.write('open\n');
  await write(store);
} catch (error) {
  process.stdout.write(`${error instanceof CvmpError ? error.code : error}\n`);
}
