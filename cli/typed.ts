import { CvmpError } from '#core/errors.js';

const pageSize = 1000;

/**
 * Reads a list page by page.
 * @param limit stop after so many items
 */
export async function allPages<Item>(
  limit: number,
  read: (page: { pageSize: number; pageToken: string }) => Promise<{
    readonly items: readonly Item[];
    readonly nextPageToken: string;
  }>,
): Promise<readonly Item[]> {
  const items: Item[] = [];
  let pageToken = '';
  do {
    const page = await read({ pageSize: Math.min(pageSize, limit - items.length), pageToken });
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && items.length < limit);
  return items.slice(0, limit);
}

/**
 * A whole number as typed.
 * @throws CvmpError USAGE naming the option
 */
export function wholeNumber(
  typed: string | undefined,
  option: string,
  range: { readonly min: number; readonly max: number; readonly otherwise: number },
): number {
  if (typed === undefined) return range.otherwise;
  const value = Number(typed);
  if (!/^\d{1,15}$/.test(typed) || value < range.min || value > range.max) {
    const why = `--${option} must be a whole number from ${range.min} to ${range.max}`;
    throw new CvmpError('USAGE', why, { field: option });
  }
  return value;
}

/**
 * Bytes in hex as typed.
 * @param length how many bytes
 * @throws CvmpError USAGE
 */
export function hexBytes(typed: string, name: string, length: number): Uint8Array {
  if (!/^[0-9a-fA-F]*$/.test(typed) || typed.length !== 2 * length) {
    throw new CvmpError('USAGE', `${name} must be ${length} bytes in hex`, { field: name });
  }
  return new Uint8Array(Buffer.from(typed, 'hex'));
}
