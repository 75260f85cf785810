import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A server in a process of its own. */
export interface ServerProcess {
  readonly pid: number;
  /** "host:port", one for each port that it was expected to open. */
  readonly addresses: readonly string[];
  stop(): Promise<void>;
}

const startMilliseconds = 20_000;
const stopMilliseconds = 20_000;

/**
 * Starts a server and waits until it says where it listens.
 * @param args of node
 * @param ports how many addresses to wait for; each is a JSON line on stderr with "address"
 */
export async function startServer(args: readonly string[], ports: number): Promise<ServerProcess> {
  const child = spawn(process.execPath, [...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const addresses = await listening(child, ports);
  return {
    pid: child.pid!,
    addresses,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), stopMilliseconds);
      await ended;
      clearTimeout(timer);
    },
  };
}

function listening(child: ChildProcess, ports: number): Promise<readonly string[]> {
  const addresses: string[] = [];
  const said: string[] = [];
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`a server did not start:\n${said.join('\n')}`));
    }, startMilliseconds);
    child.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`a server ended at its start:\n${said.join('\n')}`));
    });
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (addresses.length === ports) return;
      said.push(line);
      const address = addressIn(line);
      if (address === undefined) return;
      addresses.push(address);
      if (addresses.length < ports) return;
      clearTimeout(timer);
      resolve(addresses);
    });
  });
}

function addressIn(line: string): string | undefined {
  try {
    const { address } = JSON.parse(line) as { address?: string };
    // A path is the operator's socket, which comes first.
    return address?.includes('/') ? undefined : address;
  } catch {
    return undefined;
  }
}
