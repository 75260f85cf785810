import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { delegateSpeaker, mintToken, speakerOf } from '../profile/speaker.js';
import { wholeNumber, wordList } from '../terminal/typed.js';

export const token = command({
  name: 'token',
  summary: 'Mints a bearer token for a server, for clients other than this one.',
  examples: [
    'cvmp token --audience key-server',
    'cvmp token --audience key-server --scope auditor',
    'cvmp token --audience key-server --delegation ci.delegation --key ci-key.pem',
    'grpcurl -cacert ca.pem -H "authorization: Bearer $(cvmp token --audience key-server)" ...',
  ],
  options: {
    audience: { type: 'string', value: 'NAME', summary: 'Name of the server, as its config says.' },
    scope: {
      type: 'string',
      value: 'WORDS',
      summary: 'Roles and verbs (docs/access.md), by commas; all that you may unless told.',
    },
    delegation: {
      type: 'string',
      value: 'FILE',
      summary: 'Speak under what cvmp delegate create wrote; needs no profile.',
    },
    key: {
      type: 'string',
      value: 'FILE',
      summary: 'Private key that it names, with --delegation.',
    },
    operator: {
      type: 'boolean',
      summary: 'Speak as operator, by the operator key of the profile.',
    },
    'lifetime-seconds': {
      type: 'string',
      value: 'N',
      summary: 'How long it lives, in seconds; 300 unless told, at most 3600.',
    },
  },
  notes: 'Whoever holds the token can call that server in your name until it expires.',
  async run({ options }, context) {
    const { audience, delegation, key, operator } = options;
    if (audience === undefined) throw new CvmpError('USAGE', '--audience is missing');
    if ((delegation === undefined) !== (key === undefined)) {
      throw new CvmpError('USAGE', '--delegation and --key go together');
    }
    const range = { min: 1, max: 3600, otherwise: 300 };
    const lifetimeSeconds = wholeNumber(options['lifetime-seconds'], 'lifetime-seconds', range);
    const speaker =
      delegation !== undefined && key !== undefined
        ? await delegateSpeaker(context.path(delegation), context.path(key))
        : await speakerOf(await context.profile(), operator ? 'operator' : 'tenant');
    const scope = wordList(options.scope) ?? [speaker.caller];
    const now = context.now();
    const text = await mintToken(speaker, audience, now, { scope, lifetimeSeconds });
    const expires = new Date((Math.floor(now / 1000) + lifetimeSeconds) * 1000).toISOString();
    return { json: { token: text, audience, scope, expires }, text };
  },
});
