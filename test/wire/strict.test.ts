import { type DescMessage, equals, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { AgentMessageSchema, SessionRequestSchema } from '#gen/cvmp/v1/key_pb.js';
import { CVMCreateRequestSchema } from '#gen/cvmp/v1/platform_pb.js';
import { SetKeyPolicySchema } from '#gen/cvmp/v1/policy_pb.js';
import { decodeStrict } from '#wire/strict.js';
import { readMessage } from '#wire/validate.js';
import { rightMessage, wrongFields } from '../wrong-fields.js';

function refusal(read: () => unknown): CvmpError | undefined {
  try {
    read();
  } catch (error) {
    if (error instanceof CvmpError) return error;
    throw error;
  }
  return undefined;
}

const schemas: readonly DescMessage[] = [
  SetKeyPolicySchema,
  CVMCreateRequestSchema,
  SessionRequestSchema,
  AgentMessageSchema,
];

describe('strict reading of Protobuf (docs/decisions/0006-listeners.md)', () => {
  test.each(schemas.map((schema) => [schema.name, schema] as const))(
    '%s: a right message is read as it is, each fault of each field is refused by name',
    (_name, schema) => {
      const right = rightMessage(schema);
      const message = readMessage(schema, right);
      expect(equals(schema, decodeStrict(schema, toBinary(schema, message)), message)).toBe(true);

      const surprises: string[] = [];
      const wrongs = wrongFields(schema);
      for (const { field, what, bytes } of wrongs) {
        const error = refusal(() => readMessage(schema, bytes));
        const got = error === undefined ? 'accepted' : `${error.code} ${error.field}`;
        if (got !== `INVALID_FIELD ${field}`) surprises.push(`${field} ${what}: ${got}`);
      }
      expect(surprises).toEqual([]);
      expect(wrongs.length).toBeGreaterThan(5);
    },
  );

  test('a path prefix names nested messages in every error', () => {
    const wrong = wrongFields(AgentMessageSchema).find((w) => w.field === 'key_acquire.key_id');
    const error = refusal(() => readMessage(AgentMessageSchema, wrong!.bytes, 'sealed'));
    expect(error?.field).toBe('sealed.key_acquire.key_id');
  });

  test('what is no Protobuf at all is MALFORMED, never a crash; random bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(...schemas),
        (bytes, schema) => {
          const error = refusal(() => readMessage(schema, bytes));
          expect(['MALFORMED', 'INVALID_FIELD', undefined]).toContain(error?.code);
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('every truncation of a message is refused or is a message of its own', () => {
    const right = rightMessage(CVMCreateRequestSchema);
    for (let length = 0; length < right.length; length++) {
      const error = refusal(() => readMessage(CVMCreateRequestSchema, right.subarray(0, length)));
      expect(['MALFORMED', 'INVALID_FIELD', undefined]).toContain(error?.code);
    }
  });
});
