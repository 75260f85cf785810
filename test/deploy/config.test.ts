import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { CvmpError } from '#core/errors.js';
import { readPlatformSettings } from '#server/cvm-platform/config.js';
import { type Config, type ConfigReader, readConfig } from '#server/host/config/reader.js';
import { readKeyServerSettings } from '#server/key-server/config.js';

const folder = fileURLToPath(new URL('../../deploy/config/', import.meta.url));
const text = (name: string) => readFileSync(join(folder, name), 'utf8');

type Read = (config: ConfigReader) => unknown;

const servers: readonly (readonly [name: string, read: Read])[] = [
  ['key-server', readKeyServerSettings],
  ['platform', readPlatformSettings],
];

/** What the unit of a number may be called, at the end of its name. */
const units =
  /(^|_)(ms|seconds|minutes|hours|days|bytes|kib|mib)(_max|_min)?$|_max$|_min$|_one_in$|_failures$|_number$|(^|[._])shares$|(^|[._])threshold$/;

/** A document with one entry. */
function document(name: string, value: unknown): string {
  return stringify(name.split('.').reduceRight((inner: unknown, key) => ({ [key]: inner }), value));
}

function refusal(read: Read, name: string, value: unknown): string {
  try {
    readConfig(document(name, value), '/etc/cvmp/x.yaml', read);
    return 'accepted';
  } catch (error) {
    if (error instanceof CvmpError) return `${error.code} ${error.field}`;
    throw error;
  }
}

describe.each(servers)('every setting of %s (issue 4, 7)', (_name, read) => {
  const { settings, printed }: Config<unknown> = readConfig('', '/etc/cvmp/x.yaml', read);
  const numbers = [...settings].filter(([, { value }]) => typeof value === 'number');

  test('has a default, with a reason that --print-config says', () => {
    const lines = printed.split('\n').filter((line) => line !== '');
    const reasons = lines.filter((line) => /# default: .{8,}/.test(line));
    expect(settings.size).toBeGreaterThan(30);
    expect(reasons).toHaveLength(settings.size);
  });

  test('a number says its unit in its name, and is refused where it is endless, negative or broken', () => {
    for (const [name] of numbers) {
      expect(name).toMatch(units);
      for (const wrong of [Number.POSITIVE_INFINITY, -1, 0.5, '10', 2 ** 53, [1]]) {
        expect(refusal(read, name, wrong), `${name}: ${wrong}`).toBe(`CONFIG ${name}`);
      }
    }
  });

  test('of the wrong kind is refused by its name', () => {
    for (const [name, { value }] of settings) {
      if (JSON.stringify(value) === '{}') continue;
      const wrong = typeof value === 'object' ? 'text' : { a: 1 };
      expect(refusal(read, name, wrong)).toBe(`CONFIG ${name}`);
    }
  });

  test('misspelt is refused with its name as the suggestion', () => {
    for (const name of settings.keys()) {
      const misspelt = `${name.slice(0, -1)}`;
      expect(() => readConfig(document(misspelt, 1), '/x.yaml', read)).toThrow(
        `${misspelt} is no entry of this file; did you mean `,
      );
    }
  });

  test('that a running server takes over says so', () => {
    const live = [...settings].filter((entry) => entry[1].live).map(([name]) => name);
    const said = printed.split('\n').filter((line) => line.includes('; reloadable'));
    expect(said).toHaveLength(live.length);
    const always = ['tls.certificate_file', 'tls.key_file', 'log_level', 'operator_key_files'];
    expect(live).toEqual(
      expect.arrayContaining([...always, 'web.origins', 'grpc.connections_max']),
    );
  });
});

describe.each(servers)('deploy/config/%s.yaml', (name, read) => {
  const file = `/etc/cvmp/${name}.yaml`;

  test('is what --print-config says in full', () => {
    const { printed } = readConfig(text(`${name}.yaml`), file, read);
    expect(text(`${name}.full.yaml`)).toBe(printed);
  });

  test('in full is a configuration with the same values', () => {
    const short = readConfig(text(`${name}.yaml`), file, read);
    const full = readConfig(text(`${name}.full.yaml`), file, read);
    expect(full.value).toEqual(short.value);
    expect(parse(full.printed)).toEqual(parse(short.printed));
  });
});
