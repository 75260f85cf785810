import { readlinkSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

// Loaded into a real cvmp-agent (node --import): ends the process at one write to its disk. The
// environment says `CVMP_KILL=count:when`, from 1, before, half or after; and the disk's path.

const [count = '0', when] = (process.env.CVMP_KILL ?? '').split(':');
const disk = process.env.CVMP_KILL_DISK;

const some = await open(process.execPath);
const prototype = Object.getPrototypeOf(some) as FileHandle;
await some.close();

const { write, datasync } = prototype;
let writes = 0;

const isDisk = (handle: FileHandle) => readlinkSync(`/proc/self/fd/${handle.fd}`) === disk;

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is on its way; nothing more may happen.
  for (;;);
}

prototype.write = async function (this: FileHandle, ...args: unknown[]) {
  if (!isDisk(this)) return Reflect.apply(write, this, args);
  writes += 1;
  if (writes !== Number(count)) return Reflect.apply(write, this, args);
  const [bytes, at, length, position] = args as [Uint8Array, number, number, number];
  if (when === 'half') writeSync(this.fd, bytes, at, length >> 1, position);
  if (when !== 'after') die();
  return Reflect.apply(write, this, args);
} as FileHandle['write'];

prototype.datasync = async function (this: FileHandle) {
  await Reflect.apply(datasync, this, []);
  if (when === 'after' && writes === Number(count) && isDisk(this)) die();
};

process.on('exit', () => {
  if (Number(count) === 0) process.stderr.write(`disk writes: ${writes}\n`);
});
