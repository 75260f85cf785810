import { ByteReader, utf8 } from '../bytes.js';
import { CvmpError } from '../errors.js';
import { eventType } from './event-types.js';

/** A digest algorithm of a log (TCG Algorithm Registry). */
export interface LogAlgorithm {
  /** TPM_ALG_ID. */
  readonly id: number;
  /** `sha256`; `0x0012` where CVMP has no name for it. */
  readonly name: string;
  /** Bytes of its digests. */
  readonly length: number;
}

/** One measurement (TCG_PCR_EVENT2). Nothing of it is believed before the log was replayed. */
export interface LogEvent {
  /** PCR, or register of a CC event log. */
  readonly register: number;
  /** Not measured: whoever hands the log over can say another. */
  readonly type: number;
  /** What the firmware says that it measured; believed only where it has the digest. */
  readonly data: Uint8Array;
  /** By name of the algorithm; undefined where the log has none of it. */
  digest(algorithm: string): Uint8Array | undefined;
}

/** A crypto-agile event log (TCG PC Client Platform Firmware Profile, 10.2). */
export interface EventLog {
  readonly algorithms: readonly LogAlgorithm[];
  /** Without the header. */
  readonly events: readonly LogEvent[];
  /** What PCR 0 started with, where the log says so. */
  readonly startupLocality: number | undefined;
  /** Bytes that the events fill; the rest is padding. */
  readonly bytesConsumed: number;
}

/** Largest log, bytes (protocol.md s.6.5). */
export const logBytesMax = 512 * 1024;
/** More events than this are refused. */
const eventsMax = 16_384;
/** No single event is longer; a dbx has some 20 kB. */
const dataMax = 128 * 1024;
const algorithmsMax = 8;
/** A TPM has 24 PCRs; registers of a CC event log are fewer. */
const registersMax = 24;

const algorithmNames: Readonly<Record<number, readonly [string, number]>> = {
  4: ['sha1', 20],
  11: ['sha256', 32],
  12: ['sha384', 48],
  13: ['sha512', 64],
};

const specIdSignature = 'Spec ID Event03\0';
const startupLocalitySignature = 'StartupLocality\0';

/**
 * Parses a crypto-agile log: a Spec ID event in the old format, then the events. Logs of the old
 * format alone (SHA-1) are refused. What follows the last event must be padding: all 00 or all FF.
 * @throws CvmpError MALFORMED, SIZE, UNSUPPORTED_VERSION
 */
export function parseEventLog(bytes: Uint8Array): EventLog {
  if (bytes.length > logBytesMax) {
    throw new CvmpError('SIZE', `event log has ${bytes.length} bytes, at most ${logBytesMax}`);
  }
  // One copy, of which every event is a view.
  const reader = new ByteReader(new Uint8Array(bytes), 'little');
  const algorithms = readHeader(reader);
  const events: LogEvent[] = [];
  while (reader.remaining > 0 && !isPadding(reader.bytes, reader.offset)) {
    if (events.length === eventsMax) throw sizeError(`more than ${eventsMax} events`);
    events.push(readEvent(reader, algorithms, `event ${events.length + 1}`));
  }
  const startupLocality = localityOf(events);
  return { algorithms, events, startupLocality, bytesConsumed: reader.offset };
}

function sizeError(what: string): CvmpError {
  return new CvmpError('SIZE', `event log: ${what}`, { field: 'event_log' });
}

/** TCG_PCClientPCREvent with TCG_EfiSpecIDEvent. */
function readHeader(reader: ByteReader): readonly LogAlgorithm[] {
  const field = 'event_log.spec_id';
  reader.u32(field);
  const type = reader.u32(field);
  reader.take(20, field);
  const length = reader.u32(field);
  if (length > dataMax) throw sizeError(`a header of ${length} bytes`);
  const data = new ByteReader(reader.view(length, field), 'little');
  const signature = data.take(Math.min(16, data.remaining), field);
  if (type !== eventType.noAction || !startsWith(signature, specIdSignature)) {
    throw new CvmpError('UNSUPPORTED_VERSION', 'the event log is not crypto-agile', { field });
  }
  // platformClass, version, errata, uintnSize
  data.view(8, field);
  const count = data.u32(field);
  if (count === 0 || count > algorithmsMax) throw sizeError(`${count} algorithms`);
  const algorithms: LogAlgorithm[] = [];
  for (let i = 0; i < count; i++) {
    const algorithm = readAlgorithm(data, field);
    if (algorithms.some(({ id }) => id === algorithm.id)) {
      throw new CvmpError('MALFORMED', `event log: ${algorithm.name} twice`, { field });
    }
    algorithms.push(algorithm);
  }
  data.view(data.u8(field), field);
  data.end(field);
  return algorithms;
}

function readAlgorithm(data: ByteReader, field: string): LogAlgorithm {
  const id = data.u16(field);
  const length = data.u16(field);
  const [name, known] = algorithmNames[id] ?? [`0x${id.toString(16).padStart(4, '0')}`, length];
  if (length !== known || length === 0 || length > 64) {
    throw new CvmpError('MALFORMED', `event log: ${name} of ${length} bytes`, { field });
  }
  return { id, name, length };
}

/** TCG_PCR_EVENT2: each algorithm of the header exactly once. */
function readEvent(
  reader: ByteReader,
  algorithms: readonly LogAlgorithm[],
  field: string,
): LogEvent {
  const register = reader.u32(field);
  const type = reader.u32(field);
  const count = reader.u32(field);
  if (count !== algorithms.length) {
    throw new CvmpError('MALFORMED', `${field} has ${count} digests`, { field });
  }
  const digestsAt = reader.offset;
  let seen = 0;
  for (let i = 0; i < count; i++) {
    const id = reader.u16(field);
    const index = indexOf(algorithms, id);
    if (index < 0 || (seen & (1 << index)) !== 0) {
      throw new CvmpError('MALFORMED', `${field} has a digest of algorithm ${id}`, { field });
    }
    seen |= 1 << index;
    reader.skip(algorithms[index]!.length, field);
  }
  const length = reader.u32(field);
  if (length > dataMax) throw sizeError(`${field} has ${length} bytes`);
  const dataAt = reader.offset;
  reader.skip(length, field);
  if (type !== eventType.noAction && register >= registersMax) {
    throw new CvmpError('MALFORMED', `${field} extends register ${register}`, { field });
  }
  return new EventInLog(reader.bytes, algorithms, { register, type, digestsAt, dataAt, length });
}

/** Where an event lies; most of it is never looked at. */
class EventInLog implements LogEvent {
  readonly register: number;
  readonly type: number;
  readonly #log: Uint8Array;
  readonly #algorithms: readonly LogAlgorithm[];
  readonly #digestsAt: number;
  readonly #dataAt: number;
  readonly #length: number;

  constructor(
    log: Uint8Array,
    algorithms: readonly LogAlgorithm[],
    at: Readonly<Record<'register' | 'type' | 'digestsAt' | 'dataAt' | 'length', number>>,
  ) {
    this.register = at.register;
    this.type = at.type;
    this.#log = log;
    this.#algorithms = algorithms;
    this.#digestsAt = at.digestsAt;
    this.#dataAt = at.dataAt;
    this.#length = at.length;
  }

  get data(): Uint8Array {
    return this.#log.subarray(this.#dataAt, this.#dataAt + this.#length);
  }

  digest(name: string): Uint8Array | undefined {
    let at = this.#digestsAt;
    for (let i = 0; i < this.#algorithms.length; i++) {
      const id = this.#log[at]! | (this.#log[at + 1]! << 8);
      const algorithm = this.#algorithms[indexOf(this.#algorithms, id)]!;
      at += 2;
      if (algorithm.name === name) return this.#log.subarray(at, at + algorithm.length);
      at += algorithm.length;
    }
    return undefined;
  }
}

function indexOf(algorithms: readonly LogAlgorithm[], id: number): number {
  for (let i = 0; i < algorithms.length; i++) if (algorithms[i]!.id === id) return i;
  return -1;
}

function isPadding(bytes: Uint8Array, from: number): boolean {
  const first = bytes[from];
  if (first !== 0 && first !== 0xff) return false;
  for (let i = from + 1; i < bytes.length; i++) if (bytes[i] !== first) return false;
  return true;
}

/** Locality of TPM2_Startup: PCR 0 starts with it in its last byte (TPM 2.0 Part 1, 12.2.3.2). */
function localityOf(events: readonly LogEvent[]): number | undefined {
  let locality: number | undefined;
  for (const event of events) {
    if (event.type !== eventType.noAction || event.register !== 0) continue;
    const { data } = event;
    if (!startsWith(data, startupLocalitySignature) || data.length !== 17) continue;
    const found = data[16]!;
    if (locality !== undefined || (found !== 0 && found !== 3 && found !== 4)) {
      throw new CvmpError('MALFORMED', `event log: startup locality ${found}`, {
        field: 'event_log.startup_locality',
      });
    }
    locality = found;
  }
  return locality;
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return utf8(text).every((byte, i) => bytes[i] === byte);
}
