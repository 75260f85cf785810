import { CvmpError } from '#core/errors.js';
import type { Terminal } from './output.js';

/** @throws CvmpError USAGE where nobody can be asked, CANCELLED where the answer is not yes */
export async function confirm(terminal: Terminal, question: string): Promise<void> {
  if (!terminal.interactive) {
    throw new CvmpError('USAGE', `${question} Nobody is there to answer: say --yes`);
  }
  const answer = await terminal.ask(`${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CvmpError('CANCELLED', 'nothing was done');
}
