import type { Json } from '#cli/terminal/output.js';

/** What one step of the story claims, before it is played. */
export interface Scene {
  /** Figure or section of draft-deng-teep-cvmp-01, or of protocol.md. */
  readonly source: string;
  readonly title: string;
  /** What a person would type; empty where nobody types anything. */
  readonly command?: string;
  readonly asked: string;
  readonly answeredBy: string;
  readonly proves: string;
}

/** A step as it came out. */
export interface StepRecord extends Scene {
  readonly n: number;
  readonly ok: boolean;
  readonly seconds: number;
  /** What was found in the real state: answers of servers, audit records, disk headers. */
  readonly facts: { readonly [name: string]: Json };
  /** Why it did not do what it says. */
  readonly failure?: string;
}

/** Collects what a step finds, and refuses where it is not what the step says. */
export class Findings {
  readonly facts: { [name: string]: Json } = {};

  /** Notes a value for the record. */
  note(name: string, value: Json): void {
    this.facts[name] = value;
  }

  /** Notes a value that must be this one. @throws Error where it is another */
  expect(name: string, found: Json | undefined, wanted: Json): void {
    this.facts[name] = found ?? null;
    if (JSON.stringify(found) === JSON.stringify(wanted)) return;
    throw new Error(`${name} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }

  /** @throws Error where it does not hold */
  require(what: string, holds: boolean): void {
    this.facts[what] = holds;
    if (!holds) throw new Error(`not so: ${what}`);
  }
}

/** Plays steps one after the other and tells each; stops at the first that fails. */
export class Story {
  readonly records: StepRecord[] = [];
  readonly #tell: (text: string) => void;

  /** @param tell gets the story for people; nothing where records are all that is wanted */
  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  chapter(title: string): void {
    this.#tell(`\n${title}\n${'='.repeat(title.length)}\n`);
  }

  /** @throws Error where the step does not do what it says */
  async step(scene: Scene, play: (findings: Findings) => Promise<void>): Promise<void> {
    const n = this.records.length + 1;
    const findings = new Findings();
    const started = performance.now();
    this.#tell(`\n${n}. ${scene.title}  [${scene.source}]\n`);
    if (scene.command !== undefined) this.#tell(`   $ ${scene.command}\n`);
    this.#tell(`   asked:    ${scene.asked}\n   answers:  ${scene.answeredBy}\n`);
    let failure: string | undefined;
    try {
      await play(findings);
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    const seconds = Math.round((performance.now() - started) / 10) / 100;
    const { facts } = findings;
    const outcome = failure === undefined ? {} : { failure };
    this.records.push({ n, ...scene, ok: failure === undefined, seconds, facts, ...outcome });
    for (const [name, value] of Object.entries(facts)) this.#tell(factLine(name, value));
    if (failure !== undefined) {
      this.#tell(`   FAILED:   ${failure}\n`);
      throw new Error(`step ${n}, ${scene.title}: ${failure}`);
    }
    this.#tell(`   proves:   ${scene.proves}  (${seconds.toFixed(1)} s)\n`);
  }
}

function factLine(name: string, value: Json): string {
  if (value === true) return `   found:    ${name}\n`;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `   found:    ${name}: ${text}\n`;
}
