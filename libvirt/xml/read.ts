import { DOMParser, type Element, onErrorStopParsing } from '@xmldom/xmldom';
import { CvmpError } from '#core/errors.js';

/** An element that was read. Names that libvirt may leave out are asked for with `child`. */
export class XmlNode {
  readonly #element: Element;

  constructor(element: Element) {
    this.#element = element;
  }

  get name(): string {
    return this.#element.nodeName;
  }

  /** Without the white space around it. */
  get text(): string {
    return (this.#element.textContent ?? '').trim();
  }

  attribute(name: string): string | undefined {
    return this.#element.getAttribute(name) ?? undefined;
  }

  /** Those of one name, in order. */
  children(name: string): readonly XmlNode[] {
    const found: XmlNode[] = [];
    for (let node = this.#element.firstChild; node !== null; node = node.nextSibling) {
      if (node.nodeType === 1 && node.nodeName === name) found.push(new XmlNode(node as Element));
    }
    return found;
  }

  /** Down a path of names, the first of each; undefined where there is none. */
  child(...path: readonly string[]): XmlNode | undefined {
    const [name, ...rest] = path;
    if (name === undefined) return this;
    return this.children(name)[0]?.child(...rest);
  }
}

const charactersMax = 4 * 1024 * 1024;

/**
 * @param root name of the document element that must be there
 * @throws CvmpError DRIVER where the text is not well-formed, too long or of another kind
 */
export function readXml(text: string, root: string): XmlNode {
  const wrong = (why: string, cause?: unknown) =>
    new CvmpError('DRIVER', `libvirt: <${root}> is not readable: ${why}`, { cause });
  if (text.length > charactersMax) throw wrong(`more than ${charactersMax} characters`);
  // Neither libvirt nor QEMU writes one; entities are declared there.
  if (/<!DOCTYPE/i.test(text)) throw wrong('it has a document type');
  let document: Element | null;
  try {
    const parser = new DOMParser({ onError: onErrorStopParsing });
    document = parser.parseFromString(text, 'application/xml').documentElement;
  } catch (cause) {
    throw wrong((cause as Error).message, cause);
  }
  if (document?.nodeName !== root) throw wrong(`it is <${document?.nodeName ?? ''}>`);
  return new XmlNode(document);
}
