import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { full, quick } from './measure.js';
import { measureAll, measureEvidence } from './measure-all.js';
import { makeProcessor } from './parties/hardware.js';
import { profileAcquire } from './profile.js';
import { claimText } from './report.js';

// npm run bench -- [--quick] [--json] [--profile] [--evidence] [--folder DIR]
// Measures what docs/benchmarks.md claims. Stores lie in a temporary folder, or in DIR: measure on
// the disk that you mean.

const { values: options } = parseArgs({
  options: {
    /** A trial: every part runs, no figure means anything. */
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Where the server's time goes during KeyAcquire, in place of the measurements. */
    profile: { type: 'boolean', default: false },
    /** Verification of evidence alone. */
    evidence: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
});

const effort = options.quick ? quick : full;
const folder = mkdtempSync(join(resolve(options.folder), 'cvmp-bench-'));
const say = (text: string) => process.stderr.write(`${text}\n`);
const machine = `${cpus().length} x ${cpus()[0]?.model ?? '?'}, Linux ${release()}, Node ${process.version}`;
try {
  if (options.profile) {
    process.stdout.write(await profileAcquire(folder, effort));
  } else {
    say('making keys of a simulated processor ...');
    const processor = await makeProcessor();
    const claims = await (options.evidence
      ? measureEvidence(processor, effort)
      : measureAll(processor, folder, effort, say));
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ machine, quick: options.quick, claims }, null, 2)}\n`
        : `${machine}\n\n${claims.map(claimText).join('\n')}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
