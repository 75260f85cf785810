/** Numbers from 0 to 1 that a seed decides. */
export function randomOf(seed: number): () => number {
  // mulberry32
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Values at the borders of what lengths and counts can be. */
const borders = [
  0,
  1,
  2,
  0x7f,
  0x80,
  0xff,
  0x100,
  0x7fff,
  0xffff,
  0x10000,
  2 ** 31 - 1,
  2 ** 32 - 1,
];
/** As bytes, those that begin something in CBOR, DER or text. */
const bytes = [
  0x00, 0x01, 0x1b, 0x30, 0x5f, 0x7f, 0x80, 0x82, 0x9f, 0xbf, 0xd8, 0xf6, 0xff, 0x22, 0x2d,
];

type Mutation = (
  input: Uint8Array,
  pick: (below: number) => number,
  other: Uint8Array,
) => Uint8Array;

const replaced = (input: Uint8Array, from: number, to: number, part: Uint8Array) => {
  const out = new Uint8Array(input.length - (to - from) + part.length);
  out.set(input.subarray(0, from));
  out.set(part, from);
  out.set(input.subarray(to), from + part.length);
  return out;
};

const written = (value: number, width: number, isLittle: boolean) => {
  const out = new Uint8Array(width);
  for (let i = 0; i < width; i++) out[isLittle ? i : width - 1 - i] = Math.floor(value / 256 ** i);
  return out;
};

const chunk = (input: Uint8Array, pick: (below: number) => number): [number, number] => {
  const from = pick(input.length + 1);
  return [from, Math.min(input.length, from + 1 + pick(32))];
};

const mutations: readonly Mutation[] = [
  (input, pick) => {
    const out = input.slice();
    const at = pick(out.length);
    if (at < out.length) out[at]! ^= 1 << pick(8);
    return out;
  },
  (input, pick) => {
    const at = pick(input.length);
    return replaced(
      input,
      at,
      Math.min(input.length, at + 1),
      Uint8Array.of(bytes[pick(bytes.length)]!),
    );
  },
  (input, pick) => {
    const width = [1, 2, 4, 8][pick(4)]!;
    const at = pick(Math.max(1, input.length - width));
    const near = pick(4) === 0 ? input.length - pick(8) : borders[pick(borders.length)]!;
    const part = written(near, width, pick(2) === 0);
    return replaced(input, at, Math.min(input.length, at + width), part);
  },
  (input, pick) => {
    const out = input.slice();
    const at = pick(out.length);
    if (at < out.length) out[at]! += pick(2) === 0 ? 1 : 255;
    return out;
  },
  (input, pick) => replaced(input, ...chunk(input, pick), new Uint8Array()),
  (input, pick) => {
    const [from, to] = chunk(input, pick);
    return replaced(input, to, to, input.subarray(from, to));
  },
  (input, pick) => {
    const at = pick(input.length + 1);
    return replaced(
      input,
      at,
      at,
      new Uint8Array(1 + pick(16)).map(() => pick(256)),
    );
  },
  (input, pick) => input.slice(0, pick(input.length + 1)),
  (input, pick, other) => {
    const [from, to] = chunk(input, pick);
    const [otherFrom, otherTo] = chunk(other, pick);
    return replaced(input, from, to, other.subarray(otherFrom, otherTo));
  },
  (input, pick, other) => {
    const at = pick(input.length + 1);
    return replaced(input, at, input.length, other.subarray(Math.min(at, other.length)));
  },
];

/**
 * Changes an input in one to eight ways.
 * @param other another input, to take parts of
 * @param lengthMax the result is cut there
 */
export function mutated(
  input: Uint8Array,
  other: Uint8Array,
  random: () => number,
  lengthMax: number,
): Uint8Array {
  const pick = (below: number) => Math.floor(random() * below);
  let out = input;
  for (let times = 1 << pick(4); times > 0; times--) {
    out = mutations[pick(mutations.length)]!(out, pick, other);
  }
  return out.slice(0, lengthMax);
}
