import { X509Certificate } from 'node:crypto';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import { command } from '../command.js';
import { fields } from '../terminal/output.js';
import { serverChoice, serverOption } from '../terminal/server-choice.js';
import { readTypedBytes, typedTime, wordList } from '../terminal/typed.js';

export const certificateAdd = command({
  name: 'certificate add',
  summary: 'Lets the holder of a client certificate (TLS) speak for the tenant.',
  examples: [
    'cvmp certificate add ci.crt --scope auditor',
    'cvmp certificate add ca.crt --authority --name DNS:ci.acme.example --scope policy-author',
  ],
  positionals: ['FILE'],
  options: {
    ...serverOption,
    scope: {
      type: 'string',
      value: 'WORDS',
      summary: 'Roles and verbs (docs/access.md), by commas.',
    },
    authority: {
      type: 'boolean',
      summary: 'FILE is of an authority: whoever has a certificate from it.',
    },
    name: {
      type: 'string',
      multiple: true,
      value: 'NAME',
      summary: 'With --authority: DNS:... or URI:... of which a certificate must have one.',
    },
    label: { type: 'string', value: 'TEXT', summary: 'For people and the audit.' },
    'not-after': { type: 'string', value: 'TIME', summary: 'After this it counts no more.' },
  },
  notes:
    'A call then names the tenant in the header cvmp-tenant. Of a certificate only its public key\n' +
    'counts, so it may be renewed for the same key; its subject is never looked at.',
  async run({ positionals: [file], options }, context) {
    const scope = wordList(options.scope);
    if (scope === undefined) throw new CvmpError('USAGE', '--scope is missing');
    const certificate = certificateOf(await readTypedBytes(context, file!), file!);
    const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
    const spkiDigest = crypto.hash('sha256', new Uint8Array(spki));
    const until = options['not-after'];
    const servers = serverChoice(options.server, await context.profile());
    const { access } = await context.servers();
    for (const server of servers) {
      await access(server).addClientCertificate({
        certificate: {
          spkiDigest,
          authority: options.authority ? new Uint8Array(certificate.raw) : new Uint8Array(),
          names: [...options.name],
          scope: [...scope],
          label: options.label ?? '',
          ...(until === undefined
            ? {}
            : { notAfter: timestampFromMs(typedTime(until, 'not-after')) }),
        },
      });
    }
    return {
      json: { servers, spki_digest: toHex(spkiDigest), authority: options.authority, scope },
      text: fields([
        [options.authority ? 'authority' : 'certificate', toHex(spkiDigest)],
        ['scope', scope.join(', ')],
        ['servers', servers.join(', ')],
      ]),
    };
  },
});

/** PEM or DER. @throws CvmpError USAGE */
function certificateOf(bytes: Uint8Array, file: string): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new CvmpError('USAGE', `${file} is not a certificate`, { cause });
  }
}
