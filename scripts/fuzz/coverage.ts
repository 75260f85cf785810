import { type Profiler, Session } from 'node:inspector/promises';

/** Which blocks of our own code were run, as V8 counts them. */
export class Coverage implements AsyncDisposable {
  readonly #session = new Session();
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param folder URL of the code that counts */
  static async start(folder: string): Promise<Coverage> {
    const coverage = new Coverage(folder);
    coverage.#session.connect();
    await coverage.#session.post('Profiler.enable');
    await coverage.#session.post('Profiler.startPreciseCoverage', {
      callCount: true,
      detailed: true,
    });
    return coverage;
  }

  /** The blocks that were run since the last time: script, begin, end. */
  async take(): Promise<ReadonlySet<string>> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const blocks = new Set<string>();
    for (const script of result) {
      if (!script.url.startsWith(this.#folder)) continue;
      for (const block of blocksOf(script)) blocks.add(block);
    }
    return blocks;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }
}

function* blocksOf({ scriptId, functions }: Profiler.ScriptCoverage): Iterable<string> {
  for (const { ranges } of functions) {
    for (const { startOffset, endOffset, count } of ranges) {
      if (count > 0) yield `${scriptId} ${startOffset} ${endOffset}`;
    }
  }
}
