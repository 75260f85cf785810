import { CvmpError } from '#core/errors.js';
import type { LatePut } from '../store/seal.js';
import type { Expectation, Store } from '../store/store.js';

/** What is to be done at a time, kept in the store so that a restart does not forget it. */
export interface Task {
  readonly tenantId: string;
  /** KeyID in hex. */
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly due: number;
}

const prefix = 'agenda/';
const nothing = new Uint8Array();
const atOnce = 100;
/** Looks again at least this often: another server may have put something, or the clock was set. */
const lookEveryMs = 60_000;

/** Names in the order of their times; what they lead to is sealed and says itself what is due. */
const nameOf = ({ due, tenantId, key }: Task) =>
  `${prefix}${due.toString(16).padStart(12, '0')}/${tenantId}/${key}`;

export function agendaPut(task: Task): LatePut {
  return { key: nameOf(task), expected: 0, version: 1, seal: () => nothing };
}

export function agendaDelete(task: Task): Expectation {
  return { key: nameOf(task), expected: 1 };
}

function taskOf(name: string): Task {
  const [due = '', tenantId = '', key = ''] = name.slice(prefix.length).split('/');
  return { due: Number.parseInt(due, 16), tenantId, key };
}

interface AgendaTools {
  readonly store: Pick<Store, 'list'>;
  readonly now: () => number;
  /** Does one task and deletes it from the agenda, or finds it done. */
  readonly perform: (task: Task) => Promise<void>;
}

/** Does what is due, one after the other, in the order of times. Reads only the earliest names. */
export class Agenda {
  readonly #tools: AgendaTools;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(tools: AgendaTools) {
    this.#tools = tools;
  }

  /** Starts with what became due while no server ran. */
  start(): void {
    this.#arm(0);
  }

  /** Something is new on the agenda. */
  added(due: number): void {
    this.#arm(due - this.#tools.now());
  }

  /** Resolves when nothing is due any more. @throws CvmpError of the store */
  async run(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    this.#running = this.#performDue();
    try {
      await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  /** Waits for the task that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running?.catch(() => undefined);
  }

  async #performDue(): Promise<void> {
    const { store, now, perform } = this.#tools;
    for (;;) {
      const names = await store.list({ prefix, limit: atOnce });
      const due = names.map(({ key }) => taskOf(key)).filter((task) => task.due <= now());
      for (const task of due) {
        if (this.#closed) return;
        await perform(task);
      }
      if (due.length < atOnce) {
        const next = names[due.length];
        this.#arm(next === undefined ? lookEveryMs : taskOf(next.key).due - now());
        return;
      }
    }
  }

  #arm(inMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    const delay = Math.min(Math.max(inMs, 0), lookEveryMs);
    this.#timer = setTimeout(() => void this.#tick(), delay).unref();
  }

  /** A store that fails says so at the next decision; what is due can wait for the restart. */
  async #tick(): Promise<void> {
    try {
      await this.run();
    } catch (error) {
      if (!(error instanceof CvmpError)) throw error;
      this.#arm(lookEveryMs);
    }
  }
}
