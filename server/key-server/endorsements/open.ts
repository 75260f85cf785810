import type { Logger } from 'pino';
import type { TrustAnchor } from '#core/rats/endorsements.js';
import { readNamedFile } from '#server/host/config/files.js';
import type { Clock } from './clock.js';
import { VendorFetch } from './fetch.js';
import { EndorsementFolder } from './folder.js';
import { EndorsementKeeper } from './keeper.js';
import type { EndorsementSettings } from './settings.js';

export interface EndorsementParts {
  readonly anchors: readonly TrustAnchor[];
  readonly clock: Clock;
  /** From 0 up to but not including 1. */
  readonly random: () => number;
  readonly log: Logger;
}

/** The keeper of one program, and what it has open. */
export interface OpenEndorsements {
  readonly keeper: EndorsementKeeper;
  readonly folder: EndorsementFolder;
  /** Renews what is due, from now on; for a program that stays. */
  startRefresh(): void;
  close(): Promise<void>;
}

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const kib = 1024;

/**
 * @param mayFetch whether vendors are asked; without it not even a client for them is made
 * @throws CvmpError CONFIG
 */
export function openEndorsements(
  settings: EndorsementSettings,
  { anchors, clock, random, log }: EndorsementParts,
  mayFetch: boolean,
): OpenEndorsements {
  const { fetch } = settings;
  const documentBytesMax = fetch.answerKibMax * kib;
  const vendors = mayFetch ? openFetch(fetch, clock, random) : undefined;
  const folder = new EndorsementFolder(settings.folder, {
    bytesMax: settings.folderMibMax * kib * kib,
    documentBytesMax,
  });
  const keeper = new EndorsementKeeper({
    folder,
    fetch: vendors === undefined ? undefined : (statement) => vendors.fetch(statement),
    anchors,
    limits: {
      ageMsMax: settings.ageDaysMax * day,
      refreshMs: fetch.refreshHours * hour,
      refreshRetryMs: fetch.refreshRetryMinutes * minute,
      absentMs: fetch.absentMinutes * minute,
      waitMs: fetch.waitMs,
    },
    clock,
    log,
  });
  return {
    keeper,
    folder,
    startRefresh: () => keeper.startRefresh(fetch.refreshRetryMinutes * minute),
    async close() {
      keeper.stopRefresh();
      await vendors?.close();
    },
  };
}

function openFetch(
  { urls, proxyUrl, caFile, answerKibMax, limits }: EndorsementSettings['fetch'],
  clock: Clock,
  random: () => number,
): VendorFetch {
  const ca =
    caFile === undefined
      ? undefined
      : Buffer.from(readNamedFile(caFile, 'endorsements.fetch.ca_file')).toString('utf8');
  const http = { proxyUrl, ca, answerBytesMax: answerKibMax * kib };
  return new VendorFetch({ urls, http, limits }, clock, random);
}
