import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { conformanceDoc } from '../../scripts/conformance-doc.js';
import { conformance } from '../conformance/table.js';

const read = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

const rows = conformance.flatMap(({ tests }) =>
  Object.entries(tests).flatMap(([file, of]) =>
    of.map(([, must, test, ...codes]) => ({ file, must, test, codes })),
  ),
);

/** Sections of the error table whose every code is a rule of a format or of the protocol. */
const ruleSections = ['Evidence: cryptographic steps', 'Session and binding', 'Appraisal policy'];
/** Of fetching, not of formats: test/server/key-server/endorsements. */
const ofTheNetwork = ['ENDORSEMENT_UNAVAILABLE', 'ENDORSEMENT_INVALID'];

function ruleCodes(): string[] {
  let isRule = false;
  const codes: string[] = [];
  for (const match of read('core/errors.ts').matchAll(
    /^ {2}\/\/ --- (.+)$|^ {2}([A-Z0-9_]+): row\(/gm,
  )) {
    const [, section, code] = match;
    if (section !== undefined) isRule = ruleSections.some((name) => section.startsWith(name));
    else if (isRule && code !== undefined) codes.push(code);
  }
  return codes;
}

describe('docs/conformance.md', () => {
  it('is what npm run docs writes', () => {
    expect(read('docs/conformance.md')).toBe(conformanceDoc(conformance));
  });

  it('names tests that there are, as they are named', () => {
    const gone = rows.filter(({ file, test }) => {
      const source = read(`test/${file}`).replaceAll("\\'", "'");
      return ![`'${test}`, `"${test}`, `\`${test}`].some((title) => source.includes(title));
    });
    expect(gone).toEqual([]);
  });

  it('names codes that its tests ask for', () => {
    const foreign = rows.flatMap(({ file, test, codes }) => {
      const source = read(`test/${file}`);
      return codes.filter((code) => !source.includes(code)).map((code) => `${test}: ${code}`);
    });
    expect(foreign).toEqual([]);
  });

  it('has a row for every code of a rule', () => {
    const shown = new Set<string>(rows.flatMap(({ codes }) => codes));
    const codes = ruleCodes();
    expect(codes.length).toBeGreaterThan(40);
    expect(codes.filter((code) => !shown.has(code) && !ofTheNetwork.includes(code))).toEqual([]);
  });

  it('states nothing twice', () => {
    const texts = conformance.flatMap(({ title, tests }) =>
      Object.values(tests).flatMap((of) =>
        of.map(([section, must]) => `${title}${section}${must}`),
      ),
    );
    expect(new Set(texts).size).toBe(texts.length);
  });
});
