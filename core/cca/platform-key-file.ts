import { fromHex, fromUtf8, utf8 } from '../bytes.js';
import { ecPublicKey } from '../cose/key.js';
import { CvmpError } from '../errors.js';
import { parsePem } from '../x509/pem.js';
import { readPublicKeyInfo } from '../x509/public-key.js';
import type { PlatformKey } from './endorsement.js';

/**
 * The key of a CCA platform as its owner writes it into a file: JSON `{"implementation_id": HEX (32
 * bytes), "instance_id": HEX (33 bytes), "public_key": PEM, "endorser": TEXT, "simulated": BOOLEAN}`.
 * @param name of the file, for messages
 * @throws CvmpError MALFORMED, NOT_CANONICAL, SIZE
 */
export function readPlatformKeyFile(bytes: Uint8Array, name: string): PlatformKey {
  const json = parseObject(bytes, name);
  const text = (member: string): string => {
    const value = json[member];
    if (typeof value === 'string') return value;
    throw malformed(name, `${member} is not a text`);
  };
  const hex = (member: string, length: number): Uint8Array => {
    const value = fromHex(text(member), `${name}: ${member}`);
    if (value.length === length) return value;
    throw malformed(name, `${member} has ${value.length} bytes, not ${length}`);
  };
  const known = ['implementation_id', 'instance_id', 'public_key', 'endorser', 'simulated'];
  const unknown = Object.keys(json).find((member) => !known.includes(member));
  if (unknown !== undefined) throw malformed(name, `${unknown} is not known here`);
  if (typeof json.simulated !== 'boolean') throw malformed(name, 'simulated is not true or false');
  return {
    implementationId: hex('implementation_id', 32),
    instanceId: hex('instance_id', 33),
    key: readKey(text('public_key'), name),
    endorser: text('endorser'),
    simulated: json.simulated,
  };
}

function readKey(pem: string, name: string): PlatformKey['key'] {
  const [block] = parsePem(utf8(pem), `${name}: public_key`);
  const key = block?.label === 'PUBLIC KEY' ? readPublicKeyInfo(block.der, name) : undefined;
  if (key?.kind === 'ec') return ecPublicKey(key.curve, key.point);
  throw malformed(name, 'public_key is no PEM of an EC key on P-256 or P-384');
}

function parseObject(bytes: Uint8Array, name: string): Readonly<Record<string, unknown>> {
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(bytes, name));
  } catch (cause) {
    throw new CvmpError('MALFORMED', `${name} is not JSON`, { cause, field: name });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw malformed(name, 'is no JSON object');
  }
  return json as Readonly<Record<string, unknown>>;
}

function malformed(name: string, what: string): CvmpError {
  return new CvmpError('MALFORMED', `${name}: ${what}`, { field: name });
}
