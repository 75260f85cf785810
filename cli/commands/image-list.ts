import { toHex } from '#core/bytes.js';
import { ImageInfoSchema } from '#gen/cvmp/v1/platform_pb.js';
import { command } from '../command.js';
import { table } from '../terminal/output.js';
import { toReadable } from '../terminal/readable.js';

export const imageList = command({
  name: 'image list',
  summary: 'Images that the platform holds.',
  examples: ['cvmp image list'],
  options: {},
  async run(_, context) {
    const { cvms } = await context.servers();
    const { images } = await cvms().cVMFeature({});
    return {
      json: { images: images.map((image) => toReadable(ImageInfoSchema, image)) },
      text: table(
        ['IMAGE', 'DIGEST', 'KERNEL COMMAND LINE'],
        images.map((image) => [image.name, toHex(image.digest), image.cmdline]),
      ),
    };
  },
});
