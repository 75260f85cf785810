import { command } from '../command.js';
import { cvmOutput } from '../cvm/cvm-text.js';
import { waitForAgent, waitOptions, waitSeconds } from '../cvm/wait.js';

export const cvmStart = command({
  name: 'cvm start',
  summary: 'Starts a stopped CVM.',
  examples: ['cvmp cvm start web', 'cvmp cvm start web --wait'],
  positionals: ['NAME'],
  options: waitOptions,
  async run({ positionals: [name], options }, context) {
    const seconds = waitSeconds(options, context);
    const { cvms } = await context.servers();
    const { cvm } = await cvms().cVMStart({ cvm: name! });
    if (seconds === 0 || cvm === undefined) return cvmOutput(cvm, `${name} is started`);
    return waitForAgent(cvms(), cvm, seconds, context);
  },
});
