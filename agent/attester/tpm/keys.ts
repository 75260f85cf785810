import { concat, equalBytes } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { isAttestationKey, type PublicArea, parsePublicArea } from '#core/tpm/public-area.js';
import { firstCertificate, splitDer } from './certificates.js';
import { handleText, type Tpm, type TpmObject } from './tpm.js';

/** A key that signs quotes. */
export interface AttestationKey {
  readonly object: TpmObject;
  /** TPMT_PUBLIC. */
  readonly publicArea: Uint8Array;
}

/** A key that credentials are sealed to. */
export interface EndorsementKey {
  readonly object: TpmObject;
  readonly publicArea: PublicArea;
  /** DER: its certificate, then what the TPM holds of the chain; empty where it has none. */
  readonly certificates: readonly Uint8Array[];
}

/**
 * Restricted, so that it signs nothing but what the TPM itself made; without dictionary attack
 * protection (it has no password), or else a host that cuts the power often enough locks it.
 */
const akArguments: readonly string[] = [
  ...['-C', 'e', '-G', 'ecc256:ecdsa-sha256:null', '-g', 'sha256'],
  ...['-a', 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda'],
];

/**
 * The AK at this handle, which is made there where it is missing.
 * @throws CvmpError TPM_UNAVAILABLE, also where the key there is no attestation key
 */
export async function openAk(tpm: Tpm, handle: number): Promise<AttestationKey> {
  const object = handleText(handle);
  if (!(await tpm.handles('persistent')).has(handle)) {
    await tpm.persist(await tpm.createPrimary('ak', akArguments), handle);
    await tpm.tools.flush();
  }
  const publicArea = await tpm.readPublic(object);
  if (isAttestationKey(parsePublicArea(publicArea))) return { object, publicArea };
  throw new CvmpError('TPM_UNAVAILABLE', `the key at ${object} is not restricted to signing`, {
    field: 'tpm.ak_handle',
  });
}

/** Where a TPM keeps an EK and its certificate (TCG EK Credential Profile 2.2). */
interface EkPlace {
  readonly certificate: number;
  readonly handle: number;
  /** Algorithm that tpm2_createek makes this EK by; undefined: it makes none of this template. */
  readonly algorithm: 'rsa' | 'ecc' | undefined;
}

const rsaPlace = { certificate: 0x01c00002, handle: 0x81010001, algorithm: 'rsa' } as const;
const ekPlaces: readonly EkPlace[] = [
  rsaPlace,
  { certificate: 0x01c0000a, handle: 0x81010002, algorithm: 'ecc' },
  // P-384, template H-3.
  { certificate: 0x01c00016, handle: 0x81010016, algorithm: undefined },
];
/** Certificates of the EK's issuers, one after the other through these indices (2.2.1.5.2). */
const chainIndices = { first: 0x01c00100, last: 0x01c001ff };
/** More are not sent. */
const certificatesMax = 8;
const userWithAuth = 1 << 6;

/**
 * The EK whose certificate this TPM holds; without any certificate of use the RSA EK.
 * @throws CvmpError TPM_UNAVAILABLE
 */
export async function openEk(tpm: Tpm, nvIndices: ReadonlySet<number>): Promise<EndorsementKey> {
  const persistent = await tpm.handles('persistent');
  const chain = await readChain(tpm, nvIndices);
  for (const place of ekPlaces.filter(({ certificate }) => nvIndices.has(certificate))) {
    const certified = firstCertificate(await tpm.nvRead(place.certificate));
    if (certified === undefined) continue;
    for (const object of ekObjects(tpm, place, persistent)) {
      const ek = await loadEk(tpm, await object());
      // A handle may hold another key than the one that was certified.
      if (!equalBytes(ek.publicArea.spki, certified.spki)) continue;
      return { ...ek, certificates: [certified.der, ...chain].slice(0, certificatesMax) };
    }
  }
  const [object] = ekObjects(tpm, rsaPlace, persistent);
  return { ...(await loadEk(tpm, await object!())), certificates: [] };
}

async function readChain(tpm: Tpm, nvIndices: ReadonlySet<number>): Promise<readonly Uint8Array[]> {
  const { first, last } = chainIndices;
  const indices = [...nvIndices].filter((index) => index >= first && index <= last);
  const parts: Uint8Array[] = [];
  for (const index of indices.sort((a, b) => a - b)) parts.push(await tpm.nvRead(index));
  return splitDer(concat(...parts));
}

/** Where the EK of a place may be: at its handle or, which takes longer, made anew. */
function ekObjects(
  tpm: Tpm,
  { handle, algorithm }: EkPlace,
  persistent: ReadonlySet<number>,
): readonly (() => Promise<TpmObject>)[] {
  const kept = persistent.has(handle) ? [async () => handleText(handle)] : [];
  if (algorithm === undefined) return kept;
  const made = async () => {
    const context = tpm.tools.path(`ek-${algorithm}`);
    await tpm.tools.run('createek', ['-Q', '-G', algorithm, '-c', context]);
    await tpm.tools.flush();
    return context;
  };
  return [...kept, made];
}

async function loadEk(tpm: Tpm, object: TpmObject): Promise<Omit<EndorsementKey, 'certificates'>> {
  const publicArea = parsePublicArea(await tpm.readPublic(object));
  await tpm.tools.flush();
  return { object, publicArea };
}

/**
 * TPM2_ActivateCredential.
 * @throws CvmpError AK_UNTRUSTED where it is a credential for other keys, TPM_UNAVAILABLE
 */
export async function activateCredential(
  tpm: Tpm,
  { object: ek, publicArea }: EndorsementKey,
  { object: ak }: AttestationKey,
  { credentialBlob, encryptedSecret }: Readonly<Record<string, Uint8Array>>,
): Promise<Uint8Array> {
  const { tools } = tpm;
  // The tool's own format: magic number, version, both structures.
  const header = Uint8Array.of(0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1);
  const credential = concat(header, credentialBlob!, encryptedSecret!);
  const input = await tools.write('credential', credential);
  const args = ['-Q', '-c', ak, '-C', ek, '-i', input, '-o', tools.path('secret')];
  const session = tools.path('session');
  try {
    // EKs of the low templates may be used by policy only: whoever may use the hierarchy.
    if ((publicArea.attributes & userWithAuth) === 0) {
      await tools.run('startauthsession', ['--policy-session', '-S', session]);
      await tools.run('policysecret', ['-Q', '-S', session, '-c', 'e']);
      args.push('-P', `session:${session}`);
    }
    await tools.run('activatecredential', args).catch((cause: CvmpError) => {
      throw new CvmpError('AK_UNTRUSTED', cause.message, { cause, field: 'tpm.credential' });
    });
    return await tools.take('secret');
  } finally {
    // As it was saved: where a tool failed it was not, and goes with what else is loaded.
    await tools.run('flushcontext', [session]).catch(() => {});
    await tools.flush();
  }
}
