import { CvmpError } from '#core/errors.js';
import { callerKey, mintToken } from '../api.js';
import { command } from '../command.js';
import { wholeNumber } from '../terminal/typed.js';

export const token = command({
  name: 'token',
  summary: 'Mints a bearer token for a server, for clients other than this one.',
  examples: [
    'cvmp token --audience key-server',
    'grpcurl -cacert ca.pem -H "authorization: Bearer $(cvmp token --audience key-server)" ...',
  ],
  options: {
    audience: { type: 'string', value: 'NAME', summary: 'Name of the server, as its config says.' },
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
    if (options.audience === undefined) throw new CvmpError('USAGE', '--audience is missing');
    const range = { min: 1, max: 3600, otherwise: 300 };
    const seconds = wholeNumber(options['lifetime-seconds'], 'lifetime-seconds', range);
    const caller = options.operator ? 'operator' : 'tenant';
    const { key, issuer } = await callerKey(await context.profile(), caller);
    const now = context.now();
    const text = await mintToken(key, caller, issuer, options.audience, now, seconds);
    const expires = new Date((Math.floor(now / 1000) + seconds) * 1000).toISOString();
    return { json: { token: text, audience: options.audience, expires }, text };
  },
});
