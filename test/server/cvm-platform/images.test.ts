import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { crypto } from '#crypto';
import { ImageCatalogue, imageFiles } from '#server/cvm-platform/images.js';
import { refusalOf } from '../../refusal.js';
import { temporaryFolder } from '../../run-folder.js';

const parts = {
  [imageFiles.description]: 'name: one\n',
  [imageFiles.firmware]: 'firmware',
  [imageFiles.kernel]: 'kernel',
  [imageFiles.initrd]: 'initrd',
  [imageFiles.cmdline]: 'console=ttyS0\n',
};

function folderWith(change: Record<string, string | undefined> = {}, name = 'one'): string {
  const folder = temporaryFolder('images');
  addImage(folder, name, change);
  return folder;
}

function addImage(folder: string, name: string, change: Record<string, string | undefined>): void {
  mkdirSync(join(folder, name));
  for (const [file, content] of Object.entries({ ...parts, ...change })) {
    if (content !== undefined) writeFileSync(join(folder, name, file), content);
  }
}

const load = (folder: string) => ImageCatalogue.load(folder, `${folder}-firmware`);
const sha256 = (text: string) => crypto.hash('sha256', utf8(text));

describe('image catalogue', () => {
  test('the digest is over [firmware, kernel, initrd digests, cmdline] (platform.proto, ImageInfo)', async () => {
    const [image] = (await load(folderWith())).list();
    const digests = [sha256('firmware'), sha256('kernel'), sha256('initrd')];
    expect(image).toMatchObject({
      name: 'one',
      cmdline: 'console=ttyS0',
      imageDigest: crypto.hash('sha256', encode([...digests, 'console=ttyS0'])),
    });
  });

  test.each<[string, Record<string, string | undefined>]>([
    ['without firmware', { firmware: undefined }],
    ['without a kernel', { kernel: undefined }],
    ['without an initrd', { initrd: undefined }],
    ['without a command line', { cmdline: undefined }],
    ['without a description', { 'image.yaml': undefined }],
    ['without a name', { 'image.yaml': 'title: x' }],
    ['with a name of other characters', { 'image.yaml': 'name: a b' }],
    ['with a command line of two lines', { cmdline: 'a\nb\n' }],
    ['with a command line that is not ASCII', { cmdline: 'ä' }],
    ['with a command line beyond 4096 bytes', { cmdline: 'a'.repeat(4097) }],
  ])('an image %s keeps the platform from starting', async (_, change) => {
    expect(await refusalOf(load(folderWith(change)))).toBe('CONFIG');
  });

  test('two images of one content or one name, and a folder that is not there, are refused', async () => {
    const twins = folderWith();
    addImage(twins, 'two', { 'image.yaml': 'name: two' });
    expect(await refusalOf(load(twins))).toBe('CONFIG');
    const namesakes = folderWith();
    addImage(namesakes, 'two', { kernel: 'other' });
    expect(await refusalOf(load(namesakes))).toBe('CONFIG');
    expect(await refusalOf(load('/nonexistent'))).toBe('CONFIG');
  });

  test('an image that was changed since is refused when it is to be launched', async () => {
    for (const file of ['firmware', 'kernel', 'initrd']) {
      const folder = folderWith();
      const catalogue = await load(folder);
      const { imageDigest } = catalogue.list()[0]!;
      expect(await refusalOf(catalogue.launchImage({ imageDigest }))).toBe('accepted');
      writeFileSync(join(folder, 'one', file), 'changed');
      expect(await refusalOf(catalogue.launchImage({ imageDigest }))).toBe('IMAGE_UNKNOWN');
      rmSync(join(folder, 'one', file));
      expect(await refusalOf(catalogue.launchImage({ imageDigest }))).toBe('IMAGE_UNKNOWN');
    }
    const folder = folderWith();
    const catalogue = await load(folder);
    const [image] = catalogue.list();
    expect(await catalogue.firmwareOf(image!)).toEqual(Buffer.from('firmware'));
    writeFileSync(join(folder, 'one', 'firmware'), 'changed');
    expect(await refusalOf(catalogue.firmwareOf(image!))).toBe('IMAGE_UNKNOWN');
  });

  test('an image that the platform does not hold is unknown', async () => {
    const catalogue = await load(folderWith());
    expect(await refusalOf(() => catalogue.get(new Uint8Array(32)))).toBe('IMAGE_UNKNOWN');
  });

  test("a tenant's firmware takes the place of the image's and is kept while it is held or in use", async () => {
    const folder = folderWith();
    const catalogue = await load(folder);
    const { imageDigest } = catalogue.list()[0]!;
    const own = utf8('own firmware');
    const { digest: firmwareDigest, release } = await catalogue.holdFirmware(own);
    const again = await catalogue.holdFirmware(own);
    const launch = await catalogue.launchImage({ imageDigest, firmwareDigest });
    expect(launch.firmware.digest).toEqual(sha256('own firmware'));
    expect(launch.kernel.digest).toEqual(sha256('kernel'));
    release();
    await catalogue.sweepFirmware([]);
    expect(readdirSync(`${folder}-firmware`)).toHaveLength(1);
    again.release();
    await catalogue.sweepFirmware([firmwareDigest]);
    expect(readdirSync(`${folder}-firmware`)).toHaveLength(1);
    await catalogue.sweepFirmware([]);
    expect(readdirSync(`${folder}-firmware`)).toEqual([]);
    expect(await refusalOf(catalogue.launchImage({ imageDigest, firmwareDigest }))).toBe(
      'IMAGE_UNKNOWN',
    );
  });
});
