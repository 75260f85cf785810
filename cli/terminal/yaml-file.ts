import { LineCounter, parseDocument } from 'yaml';
import { CvmpError, type ErrorCode } from '#core/errors.js';

/**
 * What a YAML file says. Every scalar stays the text that was written: what it means is decided by
 * the field it is for, so that the digest 0011223344556677 is never read as a number.
 */
export type YamlTree = string | readonly YamlTree[] | ReadonlyMap<string, YamlTree>;

/** Where in the tree: keys and list positions from the root. */
export type YamlPath = readonly (string | number)[];

/** `levels[1].snp.tcb_min[0]` */
export function pathText(path: YamlPath): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '');
}

/** The reverse of {@link pathText}. */
export function parsePath(text: string): YamlPath {
  const steps = text.match(/[^.[\]]+/g) ?? [];
  return steps.map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}

/** A parsed YAML file that can say where a mistake stands. */
export interface YamlFile {
  readonly tree: YamlTree;
  /** Throws a CvmpError, with the file's code unless told, that names file, line and path. */
  refuse(path: YamlPath, message: string, code?: ErrorCode): never;
}

/**
 * Parses one YAML document of maps, lists and scalars; no anchors, no tags, no duplicate keys.
 * @param name of the file, for messages
 * @param code of the errors
 * @throws CvmpError `code`
 */
export function parseYaml(text: string, name: string, code: ErrorCode): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: 'failsafe',
    uniqueKeys: true,
    lineCounter: lines,
    prettyErrors: false,
  });
  const at = (offset: number) => `${name}:${lines.linePos(offset).line}`;
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw new CvmpError(code, `${at(problem.pos[0])}: ${problem.message}`);

  const refuse = (path: YamlPath, message: string, as = code): never => {
    const field = pathText(path);
    const offset = offsetOf(document, path);
    throw new CvmpError(as, `${at(offset)}: ${field === '' ? '' : `${field}: `}${message}`, {
      ...(field === '' ? {} : { field }),
    });
  };
  let plain: unknown;
  try {
    plain = document.toJS({ mapAsMap: true, maxAliasCount: 0 });
  } catch (cause) {
    throw new CvmpError(code, `${name}: ${(cause as Error).message}`, { cause });
  }
  return { tree: tree(plain, [], refuse), refuse };
}

/** Offset of the node at `path`, or of its nearest parent. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: YamlPath): number {
  for (let length = path.length; length >= 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number] } | undefined;
    if (node?.range !== undefined) return node.range[0];
  }
  return 0;
}

function tree(value: unknown, path: YamlPath, refuse: YamlFile['refuse']): YamlTree {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map((item, i) => tree(item, [...path, i], refuse));
  if (value instanceof Map) {
    const out = new Map<string, YamlTree>();
    for (const [key, item] of value) {
      if (typeof key !== 'string') return refuse(path, 'a key must be plain text');
      out.set(key, tree(item, [...path, key], refuse));
    }
    return out;
  }
  return refuse(path, 'has no value');
}
