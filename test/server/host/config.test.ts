import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { toBase64Url } from '#core/bytes.js';
import { encodeCoseKey } from '#core/cose/key.js';
import { CvmpError } from '#core/errors.js';
import { readTls } from '#server/host/config/files.js';
import { type ConfigReader, readConfig } from '#server/host/config/reader.js';
import { loadOperatorKeys, readHostSettings } from '#server/host/config/settings.js';
import { makeSigner } from '../../fakes/callers.js';
import { temporaryFolder } from '../../run-folder.js';

const defaults = {
  name: 'key-server',
  grpcPort: 7443,
  webPort: 7480,
  metricsPort: 7490,
  messageBytesMax: 2 * 1024 * 1024,
};
const read = (config: ConfigReader) => readHostSettings(config, defaults);

function refusal(text: string): string {
  try {
    readConfig(text, '/etc/cvmp/x.yaml', read);
    return 'accepted';
  } catch (error) {
    if (error instanceof CvmpError) return `${error.code} ${error.field ?? '-'}`;
    throw error;
  }
}

describe('configuration (style.md s.3)', () => {
  test('an empty file gives safe defaults, each with its reason', () => {
    const { value, printed } = readConfig('', '/etc/cvmp/x.yaml', read);
    expect(value.grpc.endpoint).toEqual({ host: '127.0.0.1', port: 7443 });
    expect(value.web.origins).toEqual([]);
    expect(value.tls.keyFile).toBe('/etc/cvmp/tls.key');
    expect(printed).toMatch(/messages?_bytes_max: 2097152 # default: /);
    for (const line of printed.split('\n')) {
      // Of a list or mapping the reason stands above.
      if (/^\s*\w+: [^#]+$/.test(line) && !/\[\]|\{\}/.test(line))
        throw new Error(`no reason: ${line}`);
    }
  });

  test('what --print-config prints is itself a configuration with the same values', () => {
    const first = readConfig('grpc: {listen: "0.0.0.0:1"}', '/etc/cvmp/x.yaml', read);
    const again = readConfig(first.printed, '/etc/cvmp/x.yaml', read);
    expect(again.value).toEqual(first.value);
    expect(parse(again.printed)).toEqual(parse(first.printed));
  });

  test('values are frozen to their depths', () => {
    const { value } = readConfig('', '/etc/cvmp/x.yaml', read);
    expect(Object.isFrozen(value)).toBe(true);
    expect(Object.isFrozen(value.grpc.limits)).toBe(true);
    expect(Object.isFrozen(value.web.origins)).toBe(true);
  });

  test.each([
    ['a swap', 'log_levle: info', 'log_levle is no entry of this file; did you mean log_level?'],
    ['nested', 'grpc: {conections_max: 1}', 'did you mean grpc.connections_max?'],
    ['nothing close', 'zebra: 1', 'zebra is no entry of this file'],
  ])('an unknown entry is refused with the nearest name: %s', (_what, text, message) => {
    expect(() => readConfig(text, '/etc/cvmp/x.yaml', read)).toThrow(
      expect.objectContaining({
        message: expect.stringMatching(
          new RegExp(`${message.replaceAll('.', '\\.').replace('?', '\\?')}$`),
        ),
      }),
    );
  });

  test.each([
    ['an unknown entry', 'nmae: x', 'CONFIG nmae'],
    ['an unknown nested entry', 'grpc: {limit: 1}', 'CONFIG grpc.limit'],
    ['a text for a number', 'grpc: {idle_seconds: soon}', 'CONFIG grpc.idle_seconds'],
    ['a fraction', 'grpc: {idle_seconds: 1.5}', 'CONFIG grpc.idle_seconds'],
    ['zero where one is least', 'grpc: {connections_max: 0}', 'CONFIG grpc.connections_max'],
    ['an endless limit', 'grpc: {connections_max: .inf}', 'CONFIG grpc.connections_max'],
    ['beyond the largest', 'web: {message_bytes_max: 67108865}', 'CONFIG web.message_bytes_max'],
    ['a number for a text', 'name: 7', 'CONFIG name'],
    ['a name that is no name', 'name: "Key Server"', 'CONFIG name'],
    ['an unknown choice', 'log_level: loud', 'CONFIG log_level'],
    ['an address without port', 'grpc: {listen: localhost}', 'CONFIG grpc.listen'],
    ['a port beyond 65535', 'grpc: {listen: "localhost:65536"}', 'CONFIG grpc.listen'],
    ['a text for a list', 'web: {origins: "https://a"}', 'CONFIG web.origins'],
    ['a list of numbers', 'web: {origins: [1]}', 'CONFIG web.origins'],
    ['a list for a mapping', 'grpc: [1]', 'CONFIG grpc'],
    ['a list as the whole', '[1]', 'CONFIG '],
    ['the same entry twice', 'name: a\nname: b', 'CONFIG -'],
    ['broken YAML', 'grpc: {', 'CONFIG -'],
    ['an alias bomb', 'a: &a [1]\nname: *a', 'CONFIG -'],
    ['a huge file', `name: ${'a'.repeat(1024 * 1024)}`, 'CONFIG -'],
  ])('%s is refused by name', (_what, text, expected) => {
    expect(refusal(text)).toBe(expected);
  });

  test('TLS files and operator keys are read from where the file says', async () => {
    const folder = temporaryFolder('config');
    const signer = await makeSigner('operator');
    mkdirSync(join(folder, 'keys'));
    writeFileSync(join(folder, 'keys/op'), `${toBase64Url(encodeCoseKey(signer.publicKey))}\n`);
    writeFileSync(join(folder, 'tls.crt'), 'certificate');
    writeFileSync(join(folder, 'tls.key'), 'key');
    const file = join(folder, 'x.yaml');
    const { value } = readConfig('operator_key_files: [keys/op]', file, read);
    expect(readTls(value.tls)).toEqual({ certificate: 'certificate', key: 'key' });
    expect(loadOperatorKeys(value).map((key) => key.point)).toEqual([signer.publicKey.point]);

    const missing = readConfig('operator_key_files: [keys/none]', file, read).value;
    expect(() => loadOperatorKeys(missing)).toThrow(/operator_key_files\[0\]/);
    const wrong = readConfig('operator_key_files: [tls.key]', file, read).value;
    expect(() => loadOperatorKeys(wrong)).toThrow(/holds no public key/);
  });
});
