import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { parseAgentConfig } from '#agent/config.js';
import { openDiskFile } from '#agent/disk/disk-file.js';
import { VolumeDisk } from '#agent/disk/volume.js';
import { type AgentIo, runAgent } from '#agent/run.js';
import { crypto } from '#crypto';
import { encodeReport } from '#sim/report.js';
import { serveTsm, type TsmServer } from '#sim/tsm-server.js';
import { InterceptedTsm } from '../fakes/configfs-tsm.js';
import type { SessionServer } from '../fakes/session-server.js';
import { temporaryFolder } from '../run-folder.js';

/** A CVM without a machine: a folder with a config document, a TSM behind a socket, and a disk. */
export class TestCvm {
  readonly folder = temporaryFolder('cvm');
  /** Of the processor that it runs on. */
  chipId = new Uint8Array(64).fill(1);
  #tsm: TsmServer | undefined;

  /** @param hostData what the hardware binds; the document's digest unless told */
  async launch(configDocument: Uint8Array, hostData = crypto.hash('sha256', configDocument)) {
    await this.stop();
    writeFileSync(join(this.folder, 'config.cbor'), configDocument);
    const report = (reportData: Uint8Array, vmpl: number) =>
      encodeReport({
        VERSION: 5,
        VMPL: vmpl,
        REPORT_DATA: reportData,
        HOST_DATA: hostData,
        CHIP_ID: this.chipId,
      });
    const { tsm } = new InterceptedTsm({ hostData, report });
    this.#tsm = await serveTsm(tsm, join(this.folder, 'tsm'));
  }

  async stop(): Promise<void> {
    await this.#tsm?.close();
    this.#tsm = undefined;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Text of a config file for this CVM. */
  config(server: Pick<SessionServer, 'port'>, change: object = {}): string {
    return stringify({
      key_server_address: `127.0.0.1:${server.port}`,
      config_document_file: 'config.cbor',
      tsm: { socket: 'tsm' },
      guest_socket: 'guest',
      disk: { path: 'disk', backend: 'volume', size_mib: 8 },
      state_dir: 'state',
      allow_persistent_files: true,
      migration_check_seconds: 0,
      retry: { initial_ms: 1, max_ms: 10, deadline_ms: 60_000 },
      ...change,
    });
  }

  /** SVNs of the slots on the disk; undefined while it is unformatted. */
  async slots(): Promise<number[] | undefined> {
    const disk = await VolumeDisk.load(await openDiskFile(this.path('disk'), 1 << 20));
    const svns = disk.slots?.map((slot) => slot.token.svn);
    await disk.close();
    return svns;
  }
}

/** A line of the agent's log. */
export interface LogLine {
  readonly msg: string;
  readonly code?: string;
  readonly step?: string;
  readonly svn?: number;
  readonly svn_floor?: number;
  readonly disk_action?: string;
}

/**
 * Runs the agent of a CVM in this process, to the delivered key unless `io` says otherwise; time is
 * what `io.sleep` makes of it.
 */
export function runHere(
  cvm: TestCvm,
  server: Pick<SessionServer, 'port'>,
  change: object = {},
  io: Partial<AgentIo> = {},
) {
  const lines: LogLine[] = [];
  const stop = new AbortController();
  const config = parseAgentConfig(cvm.config(server, change), cvm.folder);
  const ended = runAgent(config, {
    now: Date.now,
    monotonic: () => performance.now(),
    random: () => 0,
    randomBytes: crypto.randomBytes,
    sleep: () => Promise.resolve(),
    log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }),
    stop: stop.signal,
    once: true,
    agentBuild: 'test',
    ...io,
  });
  return { ended, stop, lines };
}
