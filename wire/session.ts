import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import type { SessionCodec } from '#core/session/messages.js';
import {
  ChallengeSchema,
  ClientInitSchema,
  CredentialActivationSchema,
  CredentialChallengeSchema,
  EvidenceSchema,
  SessionAcceptSchema,
  type Suite,
} from '#gen/cvmp/v1/key_pb.js';
import { readMessage, validate } from './validate.js';

/** The handshake messages of a session as Protobuf (proto/cvmp/v1/key.proto). */
export const sessionCodec: SessionCodec = {
  clientInit: {
    encode: ({ versions, suites, evidenceProfiles, criticalExtensions, ...rest }) =>
      write(ClientInitSchema, {
        ...rest,
        versions: [...versions],
        suites: suites.map((suite) => suite as Suite),
        evidenceProfiles: [...evidenceProfiles],
        criticalExtensions: [...criticalExtensions],
        lastCheckpoints: [...rest.lastCheckpoints],
      }),
    decode: (bytes) => readMessage(ClientInitSchema, bytes, 'client_init'),
  },
  challenge: {
    encode: ({ notAfter, requiredProfiles, suite, ...rest }) =>
      write(ChallengeSchema, {
        ...rest,
        suite: suite as Suite,
        notAfter: BigInt(notAfter),
        requiredProfiles: [...requiredProfiles],
        consistencyPath: [...rest.consistencyPath],
      }),
    decode: (bytes) => {
      const { notAfter, ...rest } = readAnswer(ChallengeSchema, bytes, 'challenge');
      return { ...rest, notAfter: Number(notAfter) };
    },
  },
  evidence: {
    encode: (value) => write(EvidenceSchema, value),
    decode: (bytes) => readMessage(EvidenceSchema, bytes, 'evidence'),
  },
  credential: {
    encode: (value) => write(CredentialChallengeSchema, value),
    decode: (bytes) => readAnswer(CredentialChallengeSchema, bytes, 'credential'),
  },
  activation: {
    encode: (value) => write(CredentialActivationSchema, value),
    decode: (bytes) => readMessage(CredentialActivationSchema, bytes, 'activation'),
  },
  accept: {
    encode: (value) => write(SessionAcceptSchema, value),
    decode: (bytes) => readAnswer(SessionAcceptSchema, bytes, 'accept'),
  },
};

function write<D extends DescMessage>(schema: D, value: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, value));
}

/** Answers of the server may grow fields that this version does not know. */
function readAnswer<D extends DescMessage>(
  schema: D,
  bytes: Uint8Array,
  field: string,
): MessageShape<D> {
  let message: MessageShape<D>;
  try {
    message = fromBinary(schema, bytes);
  } catch (cause) {
    throw new CvmpError('MALFORMED', `${field} is not a ${schema.name}`, { field, cause });
  }
  validate(schema, message, field);
  return message;
}
