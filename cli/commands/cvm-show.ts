import { command } from '../command.js';
import { cvmFields, cvmOutput } from '../cvm/cvm-text.js';

export const cvmShow = command({
  name: 'cvm show',
  summary: 'One CVM with its launch inputs and what its Key Agent reported.',
  examples: ['cvmp cvm show web'],
  positionals: ['NAME'],
  options: {},
  notes: "All of it is the platform's word. What the CVM proves itself: cvmp cvm verify NAME.",
  async run({ positionals: [name] }, context) {
    const { cvms } = await context.servers();
    const { cvm } = await cvms().cVMGet({ cvm: name! });
    return cvmOutput(cvm, cvm === undefined ? '' : cvmFields(cvm));
  },
});
