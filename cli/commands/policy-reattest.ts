import { command } from '../command.js';

export const policyReattest = command({
  name: 'policy reattest',
  summary: 'Has every open session under a policy attest again before its next request.',
  examples: ['cvmp policy reattest web'],
  positionals: ['POLICY'],
  options: {},
  notes: 'Agents are told at once and do it by themselves; requests are refused until they did.',
  async run({ positionals: [policyId] }, context) {
    const policies = (await context.servers()).policies();
    const { sessions } = await policies.requireReattestation({ policyId: policyId! });
    const told = sessions === 1 ? 'one session was told' : `${sessions} sessions were told`;
    return { json: { policy_id: policyId!, sessions }, text: `${policyId}: ${told}` };
  },
});
