import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { judges } from './judges.js';
import { renderText, summarise } from './report.js';
import { caseFolders, judgeAll } from './run.js';

// npm run vectors -- DIR [--json]: judges recorded evidence against its expected.json files.
// Exit 0: all as expected. 1: a mismatch. 2: wrong usage, or nothing to judge in DIR.

function usage(message: string): never {
  process.stderr.write(`vectors: error: ${message}\nusage: npm run vectors -- DIR [--json]\n`);
  process.exit(2);
}

function readArguments(): { readonly root: string; readonly json: boolean } {
  try {
    const { values, positionals } = parseArgs({
      options: { json: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    const [root, ...more] = positionals;
    if (root === undefined || more.length > 0) usage('one folder is needed');
    return { root, json: values.json };
  } catch (error) {
    return usage((error as Error).message);
  }
}

const { root, json } = readArguments();
if (!existsSync(root) || caseFolders(root).length === 0) {
  usage(`no folder with an expected.json at ${root}`);
}
const report = summarise(await judgeAll(root, judges));
process.stdout.write(`${json ? JSON.stringify(report, null, 2) : renderText(report)}\n`);
process.exitCode = report.mismatches.length === 0 ? 0 : 1;
