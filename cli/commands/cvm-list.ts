import { CvmSchema } from '#gen/cvmp/v1/platform_pb.js';
import { command } from '../command.js';
import { cvmTable } from '../cvm/cvm-text.js';
import { allPages } from '../pages.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';

export const cvmList = command({
  name: 'cvm list',
  summary: 'Your CVMs.',
  examples: ['cvmp cvm list', 'cvmp cvm list --json'],
  options: {
    limit: { type: 'string', value: 'N', summary: 'At most so many; 10000 unless told.' },
  },
  async run({ options }, context) {
    const limit = wholeNumber(options.limit, 'limit', { min: 1, max: 1e6, otherwise: 10_000 });
    const { cvms } = await context.servers();
    const found = await allPages(limit, async (page) => {
      const answer = await cvms().cVMList(page);
      return { items: answer.cvms, nextPageToken: answer.nextPageToken };
    });
    return {
      json: { cvms: found.map((cvm) => toReadable(CvmSchema, cvm)) },
      text: found.length === 0 ? 'no CVMs' : cvmTable(found),
    };
  },
});
