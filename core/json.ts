/**
 * The name of the first member that comes twice in one object of a valid JSON text: `JSON.parse` lets
 * the last of two win, another reader may take the first.
 */
export function firstDuplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  // A string with what follows it, or a bracket.
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token.endsWith(':')) {
      const key = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
