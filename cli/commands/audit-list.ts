import { toHex } from '#core/bytes.js';
import { type AuditEntry, AuditEntrySchema } from '#gen/cvmp/v1/audit_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { allPages } from '../pages.js';
import { table } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';
import { wholeNumber } from '../terminal/typed.js';

function auditTable(entries: readonly AuditEntry[]): string {
  return table(
    ['INDEX', 'TIME', 'OPERATION', 'RESULT', 'CVM', 'KEYID', 'SVN', 'LEVEL', 'CHECKS'],
    entries.map((entry) => [
      String(entry.index),
      timeText(entry.time),
      entry.reason === '' ? entry.operation : `${entry.operation} (${entry.reason})`,
      entry.granted ? 'granted' : `refused ${entry.code}`,
      entry.cvmName || '-',
      toHex(entry.keyId).slice(0, 8) || '-',
      svnText(entry),
      entry.level === 0 ? '-' : String(entry.level),
      entry.failedChecks.map((check) => `${check.code}: ${check.message}`).join('; '),
    ]),
  );
}

/** An epoch is told of where there is more than one. */
function svnText({ svn, epoch }: AuditEntry): string {
  if (svn === 0) return '-';
  return epoch > 1 ? `${svn} (epoch ${epoch})` : String(svn);
}

export const auditList = command({
  name: 'audit list',
  summary: 'What the Key Server decided about your CVMs and keys, newest first.',
  examples: ['cvmp audit list', 'cvmp audit list --refused --limit 5'],
  options: {
    refused: { type: 'boolean', summary: 'Only refusals.' },
    limit: { type: 'string', value: 'N', summary: 'At most so many; 50 unless told.' },
  },
  async run({ options }, context) {
    const limit = wholeNumber(options.limit, 'limit', { min: 1, max: 1e6, otherwise: 50 });
    const { audit } = await context.servers();
    const found = await allPages(limit, async (page) => {
      const answer = await audit().listAuditEntries({ ...page, refusedOnly: options.refused });
      return { items: answer.entries, nextPageToken: answer.nextPageToken };
    });
    return {
      json: { entries: found.map((entry) => toReadable(AuditEntrySchema, entry)) },
      text: found.length === 0 ? 'no records' : auditTable(found),
    };
  },
});
