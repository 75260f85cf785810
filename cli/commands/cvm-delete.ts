import { command } from '../command.js';
import { confirm } from '../terminal/confirm.js';

export const cvmDelete = command({
  name: 'cvm delete',
  summary: 'Deletes a stopped CVM and its disk.',
  examples: ['cvmp cvm delete web', 'cvmp cvm delete web --yes'],
  positionals: ['NAME'],
  options: { yes: { type: 'boolean', summary: 'Do not ask.' } },
  notes: 'The disk is gone for good; its key stays on the Key Server.',
  async run({ positionals: [name], options }, context) {
    if (!options.yes) await confirm(context.terminal, `Delete ${name} and its disk?`);
    const { cvms } = await context.servers();
    await cvms().cVMDelete({ cvm: name! });
    return { json: { deleted: name! }, text: `${name} is deleted` };
  },
});
