import { CvmSchema, CvmStateSchema } from '#gen/cvmp/v1/platform_pb.js';
import { command } from '../command.js';
import { agentText } from '../cvm/cvm-text.js';
import { jsonText } from '../terminal/output.js';
import { enumName, toReadable } from '../terminal/readable.js';

export const cvmWatch = command({
  name: 'cvm watch',
  summary: 'The state of CVMs now, then each change, until Ctrl-C.',
  examples: ['cvmp cvm watch', 'cvmp cvm watch web --json'],
  positionals: ['[NAME]'],
  options: {},
  notes: 'With --json one document per line.',
  async run({ positionals: [name] }, { servers, terminal, json, signal }) {
    const { cvms } = await servers();
    try {
      const stream = cvms().cVMWatch({ cvm: name ?? '' }, { signal, timeoutMs: 0 });
      for await (const { cvm } of stream) {
        if (cvm === undefined) continue;
        const state = enumName(CvmStateSchema, cvm.state);
        terminal.out(
          json
            ? `${jsonText({ cvm: toReadable(CvmSchema, cvm) })}\n`
            : `${cvm.name}  ${state}  ${agentText(cvm.agent)}\n`,
        );
      }
    } catch (error) {
      // Ctrl-C is how a watch ends.
      if (!signal.aborted) throw error;
    }
    return undefined;
  },
});
