import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';

/** A page of a list in some order; `nextPageToken` is empty on the last one. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

export interface PageRequest {
  /** 1 to 1000. */
  readonly pageSize: number;
  /** From the page before; empty for the first. */
  readonly pageToken: string;
}

const pageSizeDefault = 100;

/** What a list request of proto/ asks: 0 stands for the default. */
export function pageRequest(request: PageRequest): PageRequest {
  const { pageSize, pageToken } = request;
  return { pageSize: pageSize === 0 ? pageSizeDefault : pageSize, pageToken };
}

/** A token that names the last item of its page; opaque to callers. */
export function encodePageToken(last: string): string {
  return toBase64Url(utf8(last));
}

/** The last item of the page before; undefined for the first. @throws CvmpError INVALID_FIELD */
export function decodePageToken(token: string): string | undefined {
  if (token === '') return undefined;
  try {
    return fromUtf8(fromBase64Url(token));
  } catch (cause) {
    const field = 'page_token';
    throw new CvmpError('INVALID_FIELD', 'page_token is not one of ours', { cause, field });
  }
}

/**
 * Makes a page of items that were read with a limit one above the page size.
 * @param key what the token names an item by
 */
export function pageOf<T>(
  items: readonly T[],
  pageSize: number,
  key: (item: T) => string,
): Page<T> {
  const page = items.slice(0, pageSize);
  const last = page.at(-1);
  const more = items.length > pageSize && last !== undefined;
  return { items: page, nextPageToken: more ? encodePageToken(key(last)) : '' };
}
