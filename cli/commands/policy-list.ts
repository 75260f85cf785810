import { toHex } from '#core/bytes.js';
import { PolicySummarySchema } from '#gen/cvmp/v1/policy_pb.js';
import { command } from '../command.js';
import { allPages } from '../pages.js';
import { table } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';

export const policyList = command({
  name: 'policy list',
  summary: 'Your Keying Policies in force.',
  examples: ['cvmp policy list'],
  options: {
    limit: { type: 'string', value: 'N', summary: 'At most so many; 10000 unless told.' },
  },
  async run({ options }, context) {
    const limit = wholeNumber(options.limit, 'limit', { min: 1, max: 1e6, otherwise: 10_000 });
    const { policies } = await context.servers();
    const found = await allPages(limit, async (page) => {
      const answer = await policies().listKeyPolicies(page);
      return { items: answer.policies, nextPageToken: answer.nextPageToken };
    });
    const rows = found.map((policy) => [
      policy.policyId,
      String(policy.version),
      String(policy.svnFloor),
      String(policy.levels),
      toHex(policy.digest),
    ]);
    return {
      json: { policies: found.map((policy) => toReadable(PolicySummarySchema, policy)) },
      text:
        rows.length === 0
          ? 'no policies: no key is released'
          : table(['POLICY', 'VERSION', 'FLOOR', 'LEVELS', 'DIGEST'], rows),
    };
  },
});
