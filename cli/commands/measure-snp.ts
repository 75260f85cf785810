import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { command } from '../command.js';
import { launchOptions } from '../cvm/launch-options.js';
import { Inputs } from '../measure/inputs.js';
import { inputText } from '../measure/prediction.js';
import {
  addReferenceValues,
  referenceName,
  referenceOptions,
} from '../measure/reference-values.js';
import { measureFiles, measureImage, snpFileOptions } from '../measure/snp.js';
import { table } from '../terminal/output.js';

const names = {
  snp: 'MEASUREMENT',
  'snp-svsm': 'MEASUREMENT',
  'firmware-pages': 'firmware pages',
  sev: 'SEV launch digest',
  'sev-es': 'SEV-ES launch digest',
} as const;

export const measureSnp = command({
  name: 'measure snp',
  summary: 'Launch measurement of a SEV-SNP guest, predicted: a Reference Value for policies.',
  examples: [
    'cvmp measure snp --image sample-v1',
    'cvmp measure snp --firmware OVMF.fd --kernel vmlinuz --initrd initrd --cmdline console=ttyS0',
    'cvmp measure snp --image sample-v1 --image-svn 1 --reference-values images.yaml',
  ],
  options: { ...launchOptions, ...snpFileOptions, ...referenceOptions },
  notes:
    'With --image the platform names kernel, initrd and command line by their digests: compare them\n' +
    'with those of your own build before you admit the measurement. With --firmware alone no server\n' +
    'is asked. Legacy SEV and SEV-ES digests are for comparing: no policy admits such guests.',
  async run({ options: typed }, context) {
    const inputs = new Inputs(context);
    const measured =
      typed.image === undefined
        ? await measureFiles(typed, inputs)
        : await measureImage(typed, inputs, context);
    const { mode, digest, json } = measured;
    const references = typed['reference-values'];
    if (references !== undefined) {
      if (mode !== 'snp' && mode !== 'snp-svsm') {
        throw new CvmpError('USAGE', `no policy admits the value of mode ${mode}`);
      }
      const reference = { digest, ...referenceName(typed, measured.name) };
      await addReferenceValues(references, { snp: { measurements: [reference] } }, context);
    }
    const listed = inputs.rows.map(({ name, value }) => ({ name, value }));
    return {
      json: { measurement: toHex(digest), mode, ...json, inputs: listed },
      text: `${table(['REGISTER', 'VALUE'], [[names[mode], toHex(digest)]])}\n\n${inputText(inputs)}`,
    };
  },
});
