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
