import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { secretInput } from '#server/host/secret-input.js';
import { refusalOf } from '../../refusal.js';

/** A terminal, with what it was told and shown. */
function terminal() {
  const raw: boolean[] = [];
  const shown: string[] = [];
  const source = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (is: boolean) => raw.push(is),
  });
  const input = secretInput(
    () => source,
    (text) => shown.push(text),
  );
  return { source, input, raw, shown };
}

describe('secrets are entered, never given as arguments', () => {
  test('a terminal shows the prompt and nothing of the secret', async () => {
    const { source, input, raw, shown } = terminal();
    const read = input.readSecret('share');
    source.write('s3cret!\x7f?\r');
    expect(await read).toEqual(utf8('s3cret?'));
    expect(shown.join('')).toBe('share: \n');
    expect(raw).toEqual([true, false]);
  });

  test('Ctrl-C gives up, and the terminal is as before', async () => {
    const { source, input, raw } = terminal();
    const read = refusalOf(input.readSecret('share'));
    source.write('s3c\x03');
    expect(await read).toBe('CANCELLED');
    expect(raw).toEqual([true, false]);
  });

  test('a pipe gives one line after the other, also where they come at once', async () => {
    const source = new PassThrough();
    const input = secretInput(
      () => source,
      () => expect.unreachable(),
    );
    source.write('one\ntwo\nth');
    expect(await input.readSecret('first')).toEqual(utf8('one'));
    expect(await input.readSecret('second')).toEqual(utf8('two'));
    const third = input.readSecret('third');
    source.end('ree');
    expect(await third).toEqual(utf8('three'));
    expect(await refusalOf(input.readSecret('fourth'))).toBe('USAGE');
  });

  test('what was read is overwritten where it lay', async () => {
    const source = new PassThrough();
    const input = secretInput(
      () => source,
      () => undefined,
    );
    const chunk = Buffer.from('s3cret\n');
    source.write(chunk);
    await input.readSecret('share');
    expect(chunk.every((byte) => byte === 0)).toBe(true);
  });

  test('a secret has an end', async () => {
    const source = new PassThrough();
    const input = secretInput(
      () => source,
      () => undefined,
    );
    source.write(new Uint8Array(4097).fill(0x61));
    expect(await refusalOf(input.readSecret('share'))).toBe('USAGE');
  });
});
