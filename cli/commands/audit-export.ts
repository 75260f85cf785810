import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { CvmpError } from '#core/errors.js';
import { parseCheckpoint } from '#core/log/checkpoint.js';
import { firstLine, lastLine, recordLine } from '#wire/log-copy.js';
import { readKept } from '../audit/kept.js';
import { keyServerOf } from '../audit/key-server.js';
import { command } from '../command.js';
import { speakerOf } from '../profile/speaker.js';

const pageSize = 500;

export const auditExport = command({
  name: 'audit export',
  summary: 'Your records of the Key Server, with all that proves them whole.',
  examples: ['cvmp audit export records.ndjson', 'cvmp audit verify records.ndjson'],
  positionals: ['FILE'],
  options: {},
  notes:
    'The file has a line for the copy, one for each record and one that ends it. It needs no server\n' +
    'to be verified, and stands against one that denies it: its checkpoint is signed.',
  async run({ positionals: [file] }, context) {
    const { profile, keyServer } = await keyServerOf(context);
    const { issuer: tenantId } = await speakerOf(profile, 'tenant');
    const kept = readKept(profile.file, keyServer.identityKey);
    const audit = (await context.servers()).audit();
    const { checkpoint, consistencyPath } = await audit.getCheckpoint({
      knownCheckpoint: kept?.signed ?? new Uint8Array(),
    });
    const { size } = parseCheckpoint(checkpoint);
    const path = context.path(file!);
    const out = createWriteStream(path, { flags: 'wx', mode: 0o600 });
    const written = finished(out).catch((cause) => {
      throw new CvmpError('USAGE', `cannot write ${file}: ${(cause as Error).message}`, { cause });
    });
    const before = kept && { signed: kept.signed, path: consistencyPath };
    out.write(`${firstLine({ checkpoint, kept: before }, tenantId, keyServer.identityKey)}\n`);
    let records = 0;
    let signedHead: Uint8Array | undefined;
    for (let afterIndex = 0n, more = true; more; ) {
      const page = await audit.exportAuditRecords({ afterIndex, size: BigInt(size), pageSize });
      for (const { record, inclusionPath } of page.records) {
        out.write(`${recordLine({ record, path: inclusionPath })}\n`);
      }
      records += page.records.length;
      signedHead = page.signedHead;
      ({ more } = page);
      afterIndex = page.records.at(-1)?.index ?? afterIndex;
    }
    out.end(`${lastLine(records, signedHead)}\n`);
    await written;
    return {
      json: { file: path, tenant: tenantId, records, log_size: size },
      text: `${records} records of ${tenantId}, of a log of ${size}; written to ${path}`,
    };
  },
});
