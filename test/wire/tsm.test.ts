import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import {
  decodeTsmRequest,
  decodeTsmResponse,
  encodeTsmRequest,
  encodeTsmResponse,
  TsmFrames,
  type TsmRequest,
  type TsmResponse,
} from '#wire/tsm.js';
import { refusalOf } from '../refusal.js';

const requests: fc.Arbitrary<TsmRequest> = fc.record({
  operation: fc.constantFrom('mkdir', 'rmdir', 'write', 'read'),
  path: fc.stringMatching(/^[a-z0-9/]{1,40}$/),
  data: fc.uint8Array({ maxLength: 100 }),
});

const responses: fc.Arbitrary<TsmResponse> = fc.oneof(
  fc.record({ data: fc.uint8Array({ maxLength: 2000 }) }),
  fc.record({ errno: fc.constantFrom('ENXIO', 'EINVAL') }),
);

describe('configfs-tsm operations over a stream', () => {
  test('what is encoded decodes to the same, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(requests, { maxLength: 5 }),
        fc.integer({ min: 1, max: 60 }),
        (list, n) => {
          const stream = concat(...list.map(encodeTsmRequest));
          const frames = new TsmFrames();
          const bodies: Uint8Array[] = [];
          for (let at = 0; at < stream.length; at += n) {
            bodies.push(...frames.push(stream.subarray(at, at + n)));
          }
          expect(bodies.map(decodeTsmRequest)).toEqual(list);
        },
      ),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(responses, (response) => {
        const [body] = new TsmFrames().push(encodeTsmResponse(response));
        expect(decodeTsmResponse(body!)).toEqual(response);
      }),
      { numRuns: 100 },
    );
  });

  test('random frames give a coded error or a value, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (body) => {
        for (const decode of [decodeTsmRequest, decodeTsmResponse]) {
          try {
            decode(body);
          } catch (error) {
            expect(error).toBeInstanceOf(CvmpError);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('a frame beyond 1 MiB is refused before it is read', async () => {
    const head = new Uint8Array([0, 0x10, 0, 1]);
    expect(await refusalOf(() => new TsmFrames().push(head))).toBe('SIZE');
  });

  test('an unknown operation is refused', async () => {
    const [body] = new TsmFrames().push(
      encodeTsmRequest({ operation: 'unlink' as 'read', path: 'a', data: new Uint8Array(0) }),
    );
    expect(await refusalOf(() => decodeTsmRequest(body!))).toBe('MALFORMED');
  });
});
