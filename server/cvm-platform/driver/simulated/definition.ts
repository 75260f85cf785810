import { encode } from '#core/cbor/encode.js';
import { asArray, asBytes, asText, decodeMap } from '#core/cbor/read.js';
import type { CborKey, CborValue } from '#core/cbor/value.js';
import { readSpec, specMap } from '../../store/records.js';
import type { CvmDefinition, ImageFile } from '../driver.js';

/** What a machine process is told: the CVM, and the host that it runs on. */
export interface MachineDefinition {
  readonly cvm: CvmDefinition;
  /** Folder for its sockets. */
  readonly sockets: string;
  /** Folder of the host's simulated security processor. */
  readonly hardware: string;
  /** Program of the Key Agent. */
  readonly agentProgram: string;
}

export function encodeDefinition(definition: MachineDefinition): Uint8Array {
  const { cvm } = definition;
  const { imageDigest, firmware, kernel, initrd, cmdline } = cvm.image;
  const files = [firmware, kernel, initrd].map(({ path, digest }) => [path, digest]);
  return encode(
    new Map<CborKey, CborValue>([
      [1, cvm.cvmId],
      [2, specMap({ ...cvm, imageDigest })],
      [3, files],
      [4, cmdline],
      [5, definition.sockets],
      [6, definition.hardware],
      [7, definition.agentProgram],
    ]),
  );
}

/** @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE */
export function decodeDefinition(bytes: Uint8Array): MachineDefinition {
  return decodeMap(bytes, 'definition', (map) => {
    const { imageDigest, ...spec } = map.map(2, 'spec', readSpec);
    const files = map.array(3, 'files', { length: 3 }, readFile);
    const [firmware, kernel, initrd] = files as [ImageFile, ImageFile, ImageFile];
    const image = { imageDigest, firmware, kernel, initrd, cmdline: map.text(4, 'cmdline') };
    return {
      cvm: { ...spec, cvmId: map.text(1, 'cvm_id'), image },
      sockets: map.text(5, 'sockets'),
      hardware: map.text(6, 'hardware'),
      agentProgram: map.text(7, 'agent_program'),
    };
  });
}

function readFile(value: CborValue, field: string): ImageFile {
  const [path, digest] = asArray(value, field, { length: 2 });
  return { path: asText(path, field), digest: asBytes(digest, field, { length: 32 }) };
}
