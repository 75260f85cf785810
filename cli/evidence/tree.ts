/** A tree of named values; leaves are text. */
export type Tree = { readonly [name: string]: string | number | boolean | Tree };

/**
 * Indented lines; empty texts as `-`.
 * @param known what names mean; told below their values
 */
export function treeText(
  tree: Tree,
  indent = '',
  known: Readonly<Record<string, string>> = {},
): string {
  const width = Math.max(...Object.keys(tree).map((name) => name.length)) + 2;
  return Object.entries(tree)
    .map(([name, value]) => {
      const meaning = known[name];
      if (typeof value === 'object') {
        const head = meaning === undefined ? `${name}:` : `${name}: (${meaning})`;
        const below = treeText(value, `${indent}  `, known);
        return below === '' ? `${indent}${head} -` : `${indent}${head}\n${below}`;
      }
      const line = `${indent}${`${name}:`.padEnd(width)}${value === '' ? '-' : value}`;
      return meaning === undefined ? line : `${line}\n${indent}${' '.repeat(width)}(${meaning})`;
    })
    .join('\n');
}
