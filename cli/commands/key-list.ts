import { toHex } from '#core/bytes.js';
import { type KeyInfo, KeyInfoSchema } from '#gen/cvmp/v1/key_admin_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { stateText } from '../keys/key-text.js';
import { allPages } from '../pages.js';
import { table } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';

function keyTable(keys: readonly KeyInfo[]): string {
  return table(
    ['KEYID', 'STATE', 'EPOCH', 'FLOOR', 'RETIRED', 'POLICY', 'CVM', 'RELEASED'],
    keys.map((key) => [
      toHex(key.keyId),
      stateText(key),
      String(key.epoch),
      String(key.svnFloor),
      String(key.svnRetired),
      key.policyId,
      key.cvmName,
      timeText(key.released),
    ]),
  );
}

export const keyList = command({
  name: 'key list',
  summary: 'Your keys on the Key Server; never a key itself.',
  examples: ['cvmp key list', 'cvmp key list --json'],
  options: {
    limit: { type: 'string', value: 'N', summary: 'At most so many; 10000 unless told.' },
  },
  async run({ options }, context) {
    const limit = wholeNumber(options.limit, 'limit', { min: 1, max: 1e6, otherwise: 10_000 });
    const { keys } = await context.servers();
    const found = await allPages(limit, async (page) => {
      const answer = await keys().listKeys(page);
      return { items: answer.keys, nextPageToken: answer.nextPageToken };
    });
    return {
      json: { keys: found.map((key) => toReadable(KeyInfoSchema, key)) },
      text: found.length === 0 ? 'no keys' : keyTable(found),
    };
  },
});
