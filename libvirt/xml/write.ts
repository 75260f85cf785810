import { DOMImplementation, type Document, type Element, XMLSerializer } from '@xmldom/xmldom';

/** An element to be written: everything in it is data, nothing is markup. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly content: readonly XmlElement[] | string;
}

type Attributes = Readonly<Record<string, string | number | undefined>>;

/**
 * An element with elements or one text inside. Attributes that are undefined are left out, and so
 * are children that are.
 */
export function element(
  name: string,
  attributes: Attributes = {},
  content: readonly (XmlElement | undefined)[] | string = [],
): XmlElement {
  return {
    name,
    attributes: Object.fromEntries(
      Object.entries(attributes).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, String(value)]],
      ),
    ),
    content: typeof content === 'string' ? content : content.filter((c) => c !== undefined),
  };
}

/** `<name>text</name>` */
export const textElement = (name: string, text: string | number, attributes: Attributes = {}) =>
  element(name, attributes, String(text));

/**
 * XML text, two spaces an indentation, one element a line.
 * @throws TypeError where a name is none or a text has characters that XML cannot carry
 */
export function writeXml(root: XmlElement): string {
  const document = new DOMImplementation().createDocument(null, '');
  document.appendChild(build(document, root, '\n'));
  return `${new XMLSerializer().serializeToString(document, { requireWellFormed: true })}\n`;
}

function build(
  document: Document,
  { name, attributes, content }: XmlElement,
  line: string,
): Element {
  const node = document.createElement(demandName(name));
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(demandName(key), demandText(value));
  }
  if (typeof content === 'string') {
    if (content !== '') node.appendChild(document.createTextNode(demandText(content)));
    return node;
  }
  const inner = `${line}  `;
  for (const child of content) {
    node.appendChild(document.createTextNode(inner));
    node.appendChild(build(document, child, inner));
  }
  if (content.length > 0) node.appendChild(document.createTextNode(line));
  return node;
}

function demandName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name)) throw new TypeError(`${name} is no name in XML`);
  return name;
}

/** Char of XML without controls and line ends, of which some parsers make others. */
function demandText(text: string): string {
  if (!/^[\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u.test(text)) {
    throw new TypeError('a text has characters that XML cannot carry');
  }
  return text;
}
