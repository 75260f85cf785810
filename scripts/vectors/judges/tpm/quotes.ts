import { equalBytes, toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { parseEventLog } from '#core/eventlog/parse.js';
import { isUntouched } from '#core/eventlog/replay.js';
import { parseQuote } from '#core/tpm/attest.js';
import { objectAttribute } from '#core/tpm/layout.js';
import { parsePublicArea } from '#core/tpm/public-area.js';
import type { PcrValues } from '#core/tpm/quote.js';
import {
  asList,
  asObject,
  asString,
  type CaseFolder,
  type CaseVerdict,
  type JsonObject,
} from '../../judge.js';
import { comparison } from '../compare.js';
import { eventLogJson, quoteFieldsJson, replayed } from './fields.js';
import {
  against,
  outcomeOf,
  type QuoteFiles,
  type Read,
  readPcrs,
  readPublicKey,
  verifyQuote,
  withNegatives,
} from './material.js';

const plainFiles: QuoteFiles = {
  message: 'quote_message.bin',
  signature: 'quote_signature.bin',
  pcrs: 'pcrs.json',
  isRawSignature: false,
};
const akFile = 'ak_pub.pem';

/** Kind `tpm-quote`: one quote with its PCR values. */
export async function judgeTpmQuote(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const quote = parseQuote(folder.read(plainFiles.message));
  const fields = asObject(folder.expected.fields, 'fields');
  const isRawSignature = folder.expected.signature_format !== 'TPMT_SIGNATURE';
  const cases = [comparison('quote: fields', fields, quoteFieldsJson(quote))];
  for (const { name, wanted, read } of withNegatives(folder, 'quote')) {
    const files = { ...plainFiles, isRawSignature };
    const outcome = await outcomeOf(() => verifyQuote(read, files, readPublicKey(read(akFile))));
    cases.push(against(name, wanted, outcome));
  }
  return cases;
}

/** Kind `tcg-event-logs`: logs without a quote. */
export async function judgeEventLogs(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  return Object.entries(asObject(folder.expected.logs, 'logs')).map(([file, wanted]) => {
    const bytes = folder.read(file);
    return comparison(file, wanted, eventLogJson(parseEventLog(bytes), bytes.length));
  });
}

/** A file name, without the remark behind it. */
const fileIn = (object: JsonObject, key: string) => asString(object[key], key).split(' ')[0]!;

/** Kind `tpm-quotes+event-log`: quotes of several banks of one boot, and its log. */
export async function judgeQuotesWithLog(folder: CaseFolder): Promise<readonly CaseVerdict[]> {
  const { expected } = folder;
  const stated = asObject(expected.event_log, 'event_log');
  const logFile = fileIn(stated, 'file');
  const logBytes = folder.read(logFile);
  const quotes = asList(expected.quotes, 'quotes').map((item) => asObject(item, 'quote'));
  const cases = [
    comparison(logFile, stated, eventLogJson(parseEventLog(logBytes), logBytes.length)),
    ...judgeAk(folder),
  ];
  for (const quote of quotes) {
    const parsed = parseQuote(folder.read(fileIn(quote, 'message')));
    const found = {
      bank: parsed.selections.map(({ bank }) => bank).join(),
      fields: quoteFieldsJson(parsed),
      event_log_replay_equals_pcr: explained(folder.read(logFile), quote, folder.read.bind(folder)),
    };
    cases.push(comparison(`${String(quote.bank)}: fields`, quote, found));
  }
  for (const { name, wanted, read } of withNegatives(folder, 'quotes and event log')) {
    const outcome = await outcomeOf(async () => {
      for (const quote of quotes) {
        const files = {
          message: fileIn(quote, 'message'),
          signature: fileIn(quote, 'signature'),
          pcrs: fileIn(quote, 'pcrs'),
          isRawSignature: false,
        };
        await verifyQuote(read, files, readPublicKey(read(akFile)));
        requireExplained(explained(read(logFile), quote, read), quote);
      }
    });
    cases.push(against(name, wanted, outcome));
  }
  return cases;
}

/** What the log says of each quoted PCR, in the words of the vectors. */
function explained(log: Uint8Array, quote: JsonObject, read: Read): JsonObject {
  const values: PcrValues = readPcrs(read(fileIn(quote, 'pcrs')));
  const registers = replayed(parseEventLog(log), asString(quote.bank, 'bank'));
  return Object.fromEntries(
    [...values].map(([pcr, value]) => {
      const found = registers.get(pcr);
      if (found !== undefined) return [pcr, equalBytes(found, value)];
      // The vectors call a PCR that starts with ones "not zero".
      const isZero = isUntouched(pcr, value) && value[0] === 0;
      return [pcr, isZero ? 'no event' : 'no event but PCR not zero'];
    }),
  );
}

/** Every PCR that the whole log explains must be explained. */
function requireExplained(found: JsonObject, quote: JsonObject): void {
  const wanted = asObject(quote.event_log_replay_equals_pcr, 'event_log_replay_equals_pcr');
  for (const [pcr, state] of Object.entries(wanted)) {
    if (found[pcr] !== state) throw new CvmpError('EVENT_LOG_MISMATCH', `PCR ${pcr}`);
  }
}

function judgeAk(folder: CaseFolder): readonly CaseVerdict[] {
  const file = 'ak_tpmt_public.bin';
  if (!folder.has(file)) return [];
  const { attributes, spki, nameHash } = parsePublicArea(folder.read(file));
  const has = (bit: number) => (attributes & bit) !== 0;
  const found = {
    object_attributes_hex: attributes.toString(16).padStart(8, '0'),
    restricted: has(objectAttribute.restricted),
    sign: has(objectAttribute.sign),
    decrypt: has(objectAttribute.decrypt),
    fixed_tpm: has(objectAttribute.fixedTpm),
    name_alg: nameHash,
  };
  const key = { spki: toHex(readPublicKey(folder.read(akFile))) };
  return [
    comparison(`${file}: fields`, asObject(folder.expected.ak, 'ak'), found),
    comparison(`${file}: key`, key, { spki: toHex(spki) }),
  ];
}
