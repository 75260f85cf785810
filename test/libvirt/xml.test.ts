import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readXml } from '#libvirt/xml/read.js';
import { element, textElement, writeXml } from '#libvirt/xml/write.js';
import { refusalAtOnce } from '../refusal.js';

describe('XML that libvirt is given: what a tenant says is never markup', () => {
  const carried = fc
    .string({ unit: 'grapheme-composite', minLength: 1, maxLength: 40 })
    .filter((s) => s.trim() === s && !/[\p{Cc}\p{Cs}\u2028\u2029\ufffe\uffff]/u.test(s));

  test('any text comes back as it was, as content and as attribute', () => {
    fc.assert(
      fc.property(carried, carried, (content, attribute) => {
        const xml = writeXml(element('a', {}, [textElement('b', content, { c: attribute })]));
        const b = readXml(xml, 'a').child('b');
        expect(b?.text).toBe(content);
        expect(b?.attribute('c')).toBe(attribute);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    `'/><evil/><x y='`,
    `"/><evil/><x y="`,
    '</b><evil/>',
    ']]><evil/>',
    '<!--<evil/>-->',
    '&lt;evil/&gt;',
    '<?evil?>',
  ])('%s stays one text', (attack) => {
    const xml = writeXml(element('a', { c: attack }, [textElement('b', attack)]));
    const root = readXml(xml, 'a');
    expect(root.attribute('c')).toBe(attack);
    expect(root.child('b')?.text).toBe(attack);
    expect(root.children('evil')).toEqual([]);
  });

  test.each(['\n', '\t', '\u0000', '\u001b', '\u0085', '\u2028', '\ud800', '\ufffe'])(
    'a text with %j, which XML cannot carry unchanged, is refused',
    (character) => {
      expect(() => writeXml(textElement('a', `x${character}y`))).toThrow(TypeError);
      expect(() => writeXml(element('a', { b: character }))).toThrow(TypeError);
    },
  );

  test('a name that is none is refused', () => {
    expect(() => writeXml(element('a b'))).toThrow(TypeError);
    expect(() => writeXml(element('a', { 'b=': 1 }))).toThrow(TypeError);
  });

  test('attributes and children that are undefined are left out', () => {
    expect(writeXml(element('a', { b: undefined, c: 1 }, [undefined]))).toBe('<a c="1"/>\n');
  });
});

describe('XML that libvirt gives', () => {
  test.each([
    ['not well-formed', '<a><b></a>'],
    ['cut off', '<a><b/>'],
    ['empty', ''],
    ['of another kind', '<b/>'],
    ['with entities of its own', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['with something after it', '<a/><a/>'],
    ['longer than 4 MiB', `<a>${' '.repeat(4 * 1024 * 1024)}</a>`],
  ])('%s: DRIVER', (_, text) => {
    expect(refusalAtOnce(() => readXml(text, 'a'))).toBe('DRIVER');
  });
});
