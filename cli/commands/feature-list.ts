import { toHex } from '#core/bytes.js';
import { crypto } from '#crypto';
import { TeeTypeSchema } from '#gen/cvmp/v1/evidence_pb.js';
import { CVMFeatureResponseSchema, type TeeFeatures } from '#gen/cvmp/v1/platform_pb.js';
import { command } from '../command.js';
import { timeText } from '../cvm/cvm-text.js';
import { fields, table } from '../terminal/output.js';
import { enumName, toReadable } from '../terminal/readable.js';

function featureFields(offer: TeeFeatures): string {
  const yes = (supported: boolean | undefined, how = '') =>
    supported === true ? `yes${how === '' ? '' : ` (${how})`}` : 'no';
  const { secureBoot, liveMigration, auxilaryFirmware, bios, svn } = offer;
  return fields([
    ['TEE', `${enumName(TeeTypeSchema, offer.tee)}${offer.simulated ? ', simulated' : ''}`],
    ['product', offer.product],
    ['SecureBoot', yes(secureBoot?.supported)],
    ['LiveMigration', yes(liveMigration?.supported, liveMigration?.mechanism)],
    ['AuxilaryFirmware', yes(auxilaryFirmware?.supported, auxilaryFirmware?.formats.join(', '))],
    ['BIOS', yes(bios?.supported, bios?.settings.join(', '))],
    ['SVN', yes(svn?.idBlock, `by ID block, up to ${svn?.svnMax ?? 0}`)],
    [
      'size',
      `up to ${offer.vcpusMax} vCPU (${offer.vcpuTypes.join(', ')}), ${offer.memoryMibMax} MiB`,
    ],
    ['room', `${offer.cvmsFree} of ${offer.cvmsMax} CVMs`],
  ]);
}

export const featureList = command({
  name: 'feature list',
  summary: 'What the CVM Platform offers (CVMFeature, Figure 1).',
  examples: ['cvmp feature list', 'cvmp feature list --json'],
  options: {},
  async run(_, context) {
    const { cvms } = await context.servers();
    const answer = await cvms().cVMFeature({ nonce: crypto.randomBytes(32) });
    const images = answer.images.map((image) => [image.name, toHex(image.digest)]);
    return {
      json: toReadable(CVMFeatureResponseSchema, answer),
      text: [
        ...answer.teeFeatures.map(featureFields),
        table(['IMAGE', 'DIGEST'], images),
        `offer ${toHex(answer.featureSetId).slice(0, 16)}, valid until ${timeText(answer.validUntil)}`,
      ].join('\n\n'),
    };
  },
});
