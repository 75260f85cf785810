import { command } from '../command.js';
import { cvmOutput } from '../cvm/cvm-text.js';

export const cvmStop = command({
  name: 'cvm stop',
  summary: 'Stops a CVM; its disk stays.',
  examples: ['cvmp cvm stop web', 'cvmp cvm stop web --force'],
  positionals: ['NAME'],
  options: { force: { type: 'boolean', summary: 'Do not ask the guest first.' } },
  async run({ positionals: [name], options }, context) {
    const { cvms } = await context.servers();
    const { cvm } = await cvms().cVMStop({ cvm: name!, force: options.force });
    return cvmOutput(cvm, `${name} is stopped`);
  },
});
