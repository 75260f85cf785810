/**
 * Names that labels may have. Their values come from closed sets in the code (methods, codes,
 * formats), never from a peer or a tenant: no name of a tenant, CVM or key is ever a label.
 */
export type LabelName =
  | 'method'
  | 'code'
  | 'operation'
  | 'format'
  | 'port'
  | 'file'
  | 'limit'
  | 'reason'
  | 'state'
  | 'version';

export interface Counter {
  /** @param amount at least 0; 1 unless told */
  add(amount?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

/** One child of a family for each combination of label values. */
export type Family<T> = (...values: readonly string[]) => T;

/** A value that is read when it is asked for; undefined: there is none now. */
export type Read = () => number | undefined;

export type ReadMany = () => Iterable<readonly [values: readonly string[], value: number]>;

type Kind = 'counter' | 'gauge' | 'histogram';

interface Declared {
  readonly kind: Kind;
  readonly help: string;
  /** Sample lines without the name in front. */
  readonly samples: () => Iterable<string>;
}

/** Labels of one family. */
const labelsMax = 2;

/** Combinations of labels that one family may have; what is beyond counts as "other". */
const childrenMax = 1000;

/** Seconds: from an answer out of memory to a call at its deadline. */
export const secondBuckets: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  60,
];

/**
 * What a server counts, in the text format of Prometheus (0.0.4). Own code, since a count on the way
 * of a key costs 20 to 80 ns here and 500 to 1000 ns in prom-client (docs/decisions/0019).
 */
export class Metrics {
  readonly #declared = new Map<string, Declared>();

  /** A count without labels. @param name ends in _total */
  counter(name: string, help: string): Counter {
    return this.counters(name, help, [])();
  }

  counters(name: string, help: string, labels: readonly LabelName[]): Family<Counter> {
    const family = new Children(labels, () => new Count());
    this.#declare(name, 'counter', help, () =>
      family.lines((labelText, count) => [`${labelText} ${number(count.value)}`]),
    );
    return family.of;
  }

  /** @param name ends in its unit: _seconds */
  histogram(name: string, help: string, buckets = secondBuckets): Histogram {
    return this.histograms(name, help, [], buckets)();
  }

  histograms(
    name: string,
    help: string,
    labels: readonly LabelName[],
    buckets = secondBuckets,
  ): Family<Histogram> {
    const family = new Children(labels, () => new Buckets(buckets));
    this.#declare(name, 'histogram', help, () =>
      family.lines((labelText, histogram) => histogram.lines(labelText)),
    );
    return family.of;
  }

  gauge(name: string, help: string, read: Read): void {
    this.#declare(name, 'gauge', help, () => readOne(read));
  }

  gauges(name: string, help: string, labels: readonly LabelName[], read: ReadMany): void {
    this.#declare(name, 'gauge', help, () => readAll(labels, read));
  }

  /** A count that is kept elsewhere. */
  counted(name: string, help: string, read: Read): void {
    this.#declare(name, 'counter', help, () => readOne(read));
  }

  /** Names of everything declared, sorted. */
  get names(): readonly string[] {
    return [...this.#declared.keys()].sort();
  }

  /** Help, type and samples of everything declared, also where there is no sample yet. */
  text(): string {
    const lines: string[] = [];
    for (const [name, { kind, help, samples }] of this.#declared) {
      lines.push(`# HELP ${name} ${escaped(help, /[\\\n]/g)}`, `# TYPE ${name} ${kind}`);
      for (const sample of samples()) lines.push(`${name}${sample}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #declare(name: string, kind: Kind, help: string, samples: Declared['samples']): void {
    const wellNamed = kind === 'counter' ? /^cvmp_[a-z0-9_]+_total$/ : /^cvmp_[a-z0-9_]+$/;
    if (!wellNamed.test(name) || this.#declared.has(name)) {
      throw new TypeError(`${name} is declared twice, or no name for a ${kind}`);
    }
    this.#declared.set(name, { kind, help, samples });
  }
}

class Count implements Counter {
  value = 0;

  add(amount = 1): void {
    this.value += amount;
  }
}

class Buckets implements Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && value > bounds[i]!) i += 1;
    this.#counts[i]! += 1;
    this.#sum += value;
  }

  *lines(labelText: string): Iterable<string> {
    let total = 0;
    for (const [i, count] of this.#counts.entries()) {
      total += count;
      const bound = this.#bounds[i];
      const le = `le="${bound === undefined ? '+Inf' : bound}"`;
      const labels = labelText === '' ? `{${le}}` : `${labelText.slice(0, -1)},${le}}`;
      yield `_bucket${labels} ${total}`;
    }
    yield `_sum${labelText} ${number(this.#sum)}`;
    yield `_count${labelText} ${total}`;
  }
}

class Children<T> {
  readonly #labels: readonly LabelName[];
  readonly #make: () => T;
  readonly #children = new Map<string, { readonly labelText: string; readonly child: T }>();

  constructor(labels: readonly LabelName[], make: () => T) {
    if (labels.length > labelsMax) throw new TypeError(`more than ${labelsMax} labels`);
    this.#labels = labels;
    this.#make = make;
    // What has no labels is there from the start, at 0.
    if (labels.length === 0) this.of();
  }

  readonly of = (...values: readonly string[]): T => {
    const [first = '', second] = values;
    // Not join, which takes ten times as long (measured); two labels are the most there are.
    const key = second === undefined ? first : `${first}\n${second}`;
    const known = this.#children.get(key);
    if (known !== undefined) return known.child;
    if (values.length !== this.#labels.length) throw new TypeError('labels without values');
    const overflow = this.#labels.map(() => 'other');
    if (this.#children.size >= childrenMax && values.join() !== overflow.join()) {
      return this.of(...overflow);
    }
    const child = this.#make();
    this.#children.set(key, { labelText: labelText(this.#labels, values), child });
    return child;
  };

  *lines(render: (labelText: string, child: T) => Iterable<string>): Iterable<string> {
    for (const { labelText, child } of this.#children.values()) yield* render(labelText, child);
  }
}

function readOne(read: Read): readonly string[] {
  const value = read();
  return value === undefined ? [] : [` ${number(value)}`];
}

function* readAll(labels: readonly LabelName[], read: ReadMany): Iterable<string> {
  for (const [values, value] of read()) yield `${labelText(labels, values)} ${number(value)}`;
}

function labelText(labels: readonly LabelName[], values: readonly string[]): string {
  if (labels.length === 0) return '';
  const pairs = labels.map((name, i) => `${name}="${escaped(values[i] ?? '', /[\\\n"]/g)}"`);
  return `{${pairs.join(',')}}`;
}

function escaped(text: string, which: RegExp): string {
  return text.replace(which, (c) => (c === '\n' ? '\\n' : `\\${c}`));
}

function number(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}
