import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parse } from 'yaml';
import { equalBytes, fromUtf8, toHex } from '#core/bytes.js';
import { encode } from '#core/cbor/encode.js';
import { CvmpError } from '#core/errors.js';
import { crypto } from '#crypto';
import type { ImageFile, LaunchImage } from './driver/driver.js';
import type { LaunchSpec } from './lifecycle/cvm.js';

/** An image of the catalogue: its parts by digest, and a name for people. */
export interface Image extends LaunchImage {
  readonly name: string;
}

/** Files of an image's folder. */
export const imageFiles = {
  /** YAML: `name`. */
  description: 'image.yaml',
  firmware: 'firmware',
  kernel: 'kernel',
  initrd: 'initrd',
  /** Kernel command line; one newline at its end is not part of it. */
  cmdline: 'cmdline',
} as const;

const firmwareBytesMax = 16 * 1024 * 1024;
const cmdlineBytesMax = 4096;

/**
 * The images that the platform holds: one folder each. The catalogue is read once; what is to be
 * launched is read again, so that a file that was changed in between is noticed here and not as a
 * measurement that nobody understands.
 */
export class ImageCatalogue {
  readonly #images: readonly Image[];
  readonly #firmwareFolder: string;
  readonly #held = new Set<{ readonly digest: Uint8Array }>();

  private constructor(images: readonly Image[], firmwareFolder: string) {
    this.#images = images;
    this.#firmwareFolder = firmwareFolder;
  }

  /**
   * @param folder holds one folder for each image
   * @param firmwareFolder for firmware that tenants bring; made where it is missing
   * @throws CvmpError CONFIG naming the image that is not one
   */
  static async load(folder: string, firmwareFolder: string): Promise<ImageCatalogue> {
    await mkdir(firmwareFolder, { recursive: true, mode: 0o700 });
    const images: Image[] = [];
    for (const name of await foldersIn(folder)) {
      const image = await readImage(join(folder, name));
      const twin = images.find(
        (i) => i.name === image.name || equalBytes(i.imageDigest, image.imageDigest),
      );
      if (twin !== undefined) {
        throw new CvmpError('CONFIG', `image ${name} is the same as ${twin.name}, or named so`);
      }
      images.push(image);
    }
    return new ImageCatalogue(images, firmwareFolder);
  }

  list(): readonly Image[] {
    return this.#images;
  }

  /** @param field that the request names it in @throws CvmpError IMAGE_UNKNOWN */
  get(imageDigest: Uint8Array, field = 'image_digest'): Image {
    const image = this.#images.find((i) => equalBytes(i.imageDigest, imageDigest));
    if (image === undefined) {
      throw new CvmpError('IMAGE_UNKNOWN', `no image ${toHex(imageDigest)}`, { field });
    }
    return image;
  }

  /** The firmware of an image. @throws CvmpError IMAGE_UNKNOWN */
  async firmwareOf(image: Image): Promise<Uint8Array> {
    const bytes = await readFile(image.firmware.path).catch(changed(image.firmware.path));
    if (!equalBytes(crypto.hash('sha256', bytes), image.firmware.digest)) {
      throw changedFile(image.firmware.path);
    }
    return bytes;
  }

  /**
   * Writes firmware that a tenant brings. It stays until {@link sweepFirmware} finds it neither
   * held nor in use.
   * @returns its SHA-256, and what ends the hold
   */
  async holdFirmware(bytes: Uint8Array): Promise<{ digest: Uint8Array; release: () => void }> {
    const digest = crypto.hash('sha256', bytes);
    const hold = { digest };
    this.#held.add(hold);
    const path = this.#ownFirmware(digest);
    const fresh = `${path}.${toHex(crypto.randomBytes(8))}`;
    const file = await open(fresh, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
    return { digest, release: () => this.#held.delete(hold) };
  }

  /** Removes every firmware that a tenant brought but these and those that are held. */
  async sweepFirmware(inUse: readonly Uint8Array[]): Promise<void> {
    const names = await readdir(this.#firmwareFolder);
    const kept = [...inUse, ...[...this.#held].map((hold) => hold.digest)].map(toHex);
    for (const name of names) {
      if (kept.some((digest) => name.startsWith(digest))) continue;
      await rm(join(this.#firmwareFolder, name), { force: true });
    }
  }

  /**
   * The files to launch, read and compared with their digests now.
   * @throws CvmpError IMAGE_UNKNOWN where a file is gone or was changed
   */
  async launchImage(
    spec: Pick<LaunchSpec, 'imageDigest' | 'firmwareDigest'>,
  ): Promise<LaunchImage> {
    const image = this.get(spec.imageDigest);
    const firmware =
      spec.firmwareDigest === undefined
        ? image.firmware
        : { path: this.#ownFirmware(spec.firmwareDigest), digest: spec.firmwareDigest };
    for (const file of [firmware, image.kernel, image.initrd]) {
      const { digest } = await readImageFile(file.path).catch(changed(file.path));
      if (!equalBytes(digest, file.digest)) throw changedFile(file.path);
    }
    const { imageDigest, kernel, initrd, cmdline } = image;
    return { imageDigest, firmware, kernel, initrd, cmdline };
  }

  #ownFirmware(digest: Uint8Array): string {
    return join(this.#firmwareFolder, toHex(digest));
  }
}

/** SHA-256 over the deterministic CBOR of [firmware, kernel, initrd digests, cmdline]. */
export function imageDigestOf(parts: Omit<LaunchImage, 'imageDigest'>): Uint8Array {
  const { firmware, kernel, initrd, cmdline } = parts;
  return crypto.hash('sha256', encode([firmware.digest, kernel.digest, initrd.digest, cmdline]));
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
    throw new CvmpError('CONFIG', `images_folder ${folder} cannot be read`, { cause });
  });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

async function readImage(folder: string): Promise<Image> {
  try {
    const parts = {
      firmware: await readImageFile(join(folder, imageFiles.firmware)),
      kernel: await readImageFile(join(folder, imageFiles.kernel)),
      initrd: await readImageFile(join(folder, imageFiles.initrd)),
      cmdline: readCmdline(await readFile(join(folder, imageFiles.cmdline))),
    };
    const { size } = await stat(parts.firmware.path);
    if (size > firmwareBytesMax) throw new Error(`the firmware has ${size} bytes`);
    const name = readName(await readFile(join(folder, imageFiles.description), 'utf8'));
    return { name, imageDigest: imageDigestOf(parts), ...parts };
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CvmpError('CONFIG', `${folder} is not an image: ${why}`, { cause });
  }
}

async function readImageFile(path: string): Promise<ImageFile> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return { path, digest: new Uint8Array(hash.digest()) };
}

function readCmdline(bytes: Uint8Array): string {
  const text = fromUtf8(bytes, imageFiles.cmdline).replace(/\n$/, '');
  if (bytes.length > cmdlineBytesMax || !/^[\x20-\x7e]*$/.test(text)) {
    throw new Error(`the command line is not one line of ASCII up to ${cmdlineBytesMax} bytes`);
  }
  return text;
}

function readName(yaml: string): string {
  const value: unknown = parse(yaml, { maxAliasCount: 0 });
  const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : '';
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new Error(`${imageFiles.description} has no name of letters, digits, "." "_" "-"`);
  }
  return name;
}

function changedFile(path: string, cause?: unknown): CvmpError {
  const message = `${path} was changed since the catalogue was read`;
  return new CvmpError('IMAGE_UNKNOWN', message, { field: 'image_digest', cause });
}

function changed(path: string): (cause: unknown) => never {
  return (cause) => {
    throw changedFile(path, cause);
  };
}
