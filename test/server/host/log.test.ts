import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CvmpError, errorTable } from '#core/errors.js';
import { ErrorDetailSchema, StatusSchema } from '#gen/cvmp/v1/error_pb.js';
import { createLog, errorFields, logField } from '#server/host/log.js';
import { Secret } from '#server/host/secret.js';
import { peerStatus, rpcNumber, statusDetails } from '#server/host/status.js';
import { operatorCaller, tenantCaller } from '../../fakes/callers.js';

describe('secrets', () => {
  const bytes = new TextEncoder().encode('do not show');

  test('no way of printing shows them', () => {
    const secret = new Secret(bytes);
    const lines: string[] = [];
    createLog('test', 'info', { write: (line: string) => lines.push(line) }).info({ secret }, 'x');
    const prints = [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      inspect(secret, { depth: 9, showHidden: true }),
      inspect({ deep: [secret] }, { depth: 9 }),
      ...lines,
    ];
    for (const text of prints) {
      expect(text).toContain('[secret]');
      expect(text).not.toContain('do not show');
      expect(text).not.toContain('100, 111');
      expect(text).not.toContain('ZG8gbm90');
    }
    expect(secret.reveal()).toBe(bytes);
  });

  test('dispose overwrites them', () => {
    const secret = new Secret(bytes.slice());
    secret.dispose();
    expect(secret.reveal().every((octet) => octet === 0)).toBe(true);
  });
});

describe('the log', () => {
  const lines: string[] = [];
  const parsed = () => lines.splice(0).map((line) => JSON.parse(line) as Record<string, unknown>);
  const destination = { write: (line: string) => void lines.push(line) };

  test('fields that hold secrets are cut out, also one level down', () => {
    const log = createLog('test', 'info', destination);
    log.info({ token: 'abc', request: { authorization: 'Bearer abc' }, code: 'OK' }, 'x');
    const [line] = parsed();
    expect(line).toMatchObject({ token: '[secret]', request: { authorization: '[secret]' } });
    expect(JSON.stringify(line)).not.toContain('abc');
  });

  test('of lines that are alike so many a minute; the next one says how many are missing', () => {
    let now = 0;
    const log = createLog('test', 'info', destination, { perMinuteMax: 2, now: () => now });
    const child = log.child({ request_id: '1' });
    for (let i = 0; i < 5; i++) child.warn({ code: 'RATE' }, 'call refused');
    log.warn({ code: 'TOKEN_INVALID' }, 'call refused');
    log.info('no fields');
    expect(parsed().map(({ code }) => code)).toEqual(['RATE', 'RATE', 'TOKEN_INVALID', undefined]);
    now = 60_000;
    child.warn({ code: 'RATE' }, 'call refused');
    child.warn({ code: 'RATE' }, 'call refused');
    expect(parsed().map(({ suppressed }) => suppressed)).toEqual([3, undefined]);
  });

  test('every field has its place in the guide', () => {
    const guide = readFileSync(new URL('../../../docs/operating/observing.md', import.meta.url));
    const missing = Object.values(logField).filter((name) => !guide.includes(`\`${name}\``));
    expect(missing).toEqual([]);
  });
});

describe('errors have two audiences (style.md s.3)', () => {
  const error = new CvmpError('INVALID_FIELD', 'the inner message', {
    field: 'a.b',
    cause: new Error('the cause'),
  });

  test('an authenticated peer gets message and field, an anonymous one code and meaning', () => {
    const tenant = peerStatus(error, tenantCaller('acme'), 'id');
    expect(tenant.message).toBe('INVALID_FIELD: the inner message');
    expect(tenant.detail).toMatchObject({ code: 'INVALID_FIELD', field: 'a.b', requestId: 'id' });
    const stranger = peerStatus(error, { role: 'anonymous' }, 'id');
    expect(stranger.message).toBe(`INVALID_FIELD: ${errorTable.INVALID_FIELD.meaning}`);
    expect(stranger.detail).toMatchObject({ code: 'INVALID_FIELD', field: '' });
  });

  test('the log gets message, field and cause; a stack only for what is no CvmpError', () => {
    expect(errorFields(error)).toEqual({
      code: 'INVALID_FIELD',
      field: 'a.b',
      reason: 'the inner message: the cause',
    });
    expect(errorFields(new TypeError('a bug')).stack).toContain('log.test.ts');
    expect(errorFields('thrown text').stack).toContain('thrown text');
  });

  test('what is no CvmpError is INTERNAL without a word, whoever asks', () => {
    const status = peerStatus(new TypeError('the insides'), operatorCaller, 'id');
    expect(status.number).toBe(rpcNumber.INTERNAL);
    expect(JSON.stringify(status)).not.toContain('insides');
  });

  test('what a peer sent comes back clipped', () => {
    const long = new CvmpError('INVALID_FIELD', 'm'.repeat(9999), { field: 'f'.repeat(9999) });
    const status = peerStatus(long, operatorCaller, 'id');
    expect(status.message.length).toBeLessThanOrEqual(512);
    expect(status.detail.field.length).toBeLessThanOrEqual(512);
    expect(statusDetails(status).length).toBeLessThan(4096);
  });

  test('grpc-status-details-bin is a google.rpc.Status with one ErrorDetail', () => {
    const status = peerStatus(error, operatorCaller, 'id');
    const decoded = fromBinary(StatusSchema, statusDetails(status));
    expect([decoded.code, decoded.message]).toEqual([3, status.message]);
    expect(decoded.details[0]?.typeUrl).toBe('type.googleapis.com/cvmp.v1.ErrorDetail');
    expect(fromBinary(ErrorDetailSchema, decoded.details[0]!.value).field).toBe('a.b');
  });
});
