import { element, textElement, type XmlElement } from '../xml/write.js';

/** An SEV-SNP guest: libvirt 10.5.0, QEMU 9.1, Linux 6.11 or later. */
export interface SnpSecurity {
  readonly kind: 'sev-snp';
  /** Guest POLICY word. */
  readonly guestPolicy: bigint;
  /** HOST_DATA, 32 bytes. */
  readonly hostData: Uint8Array;
  /** ID block (96 bytes) and its authentication information (4096 bytes). */
  readonly id?: { readonly block: Uint8Array; readonly auth: Uint8Array };
  /** The ID block's key is signed by an author key. */
  readonly authorKey: boolean;
  /** The digests of kernel, initrd and command line are put into the measured firmware. */
  readonly kernelHashes: boolean;
}

/** A TDX guest: libvirt 11.6.0, QEMU 10.1, Linux 6.16 or later. */
export interface TdxSecurity {
  readonly kind: 'tdx';
  /** TD attributes, as far as a guest may choose them. */
  readonly attributes: bigint;
  /** MRCONFIGID, MROWNER and MROWNERCONFIG, 48 bytes each. */
  readonly mrConfigId: Uint8Array;
  readonly mrOwner?: Uint8Array;
  readonly mrOwnerConfig?: Uint8Array;
  /** Unix socket of the Quote Generation Service. */
  readonly quoteServiceSocket: string;
}

/** An SEV or SEV-ES guest: it has no evidence that a Key Server takes, only memory encryption. */
export interface SevSecurity {
  readonly kind: 'sev';
  /** Guest POLICY word of SEV; bit 2 asks for SEV-ES. */
  readonly guestPolicy: number;
  readonly kernelHashes: boolean;
}

export type LaunchSecurity = SnpSecurity | TdxSecurity | SevSecurity;

/** `<launchSecurity>` as libvirt documents it (Format domain, "Launch Security"). */
export function launchSecurityElement(security: LaunchSecurity): XmlElement {
  switch (security.kind) {
    case 'sev-snp':
      return snp(security);
    case 'tdx':
      return tdx(security);
    case 'sev':
      return element(
        'launchSecurity',
        { type: 'sev', kernelHashes: yesOrAbsent(security.kernelHashes) },
        [textElement('policy', hex(security.guestPolicy, 4))],
      );
  }
}

function snp({ guestPolicy, hostData, id, authorKey, kernelHashes }: SnpSecurity): XmlElement {
  demandLength('host_data', hostData, 32);
  if (id !== undefined) {
    demandLength('id_block', id.block, 96);
    demandLength('id_auth', id.auth, 4096);
  }
  return element(
    'launchSecurity',
    {
      type: 'sev-snp',
      authorKey: yesOrAbsent(authorKey),
      kernelHashes: yesOrAbsent(kernelHashes),
    },
    [
      textElement('policy', hex(guestPolicy, 16)),
      id && textElement('idBlock', base64(id.block)),
      id && textElement('idAuth', base64(id.auth)),
      textElement('hostData', base64(hostData)),
    ],
  );
}

function tdx(security: TdxSecurity): XmlElement {
  const { attributes, mrConfigId, mrOwner, mrOwnerConfig, quoteServiceSocket } = security;
  demandLength('mrconfigid', mrConfigId, 48);
  if (mrOwner !== undefined) demandLength('mrowner', mrOwner, 48);
  if (mrOwnerConfig !== undefined) demandLength('mrownerconfig', mrOwnerConfig, 48);
  return element('launchSecurity', { type: 'tdx' }, [
    textElement('policy', hex(attributes, 16)),
    textElement('mrConfigId', base64(mrConfigId)),
    mrOwner && textElement('mrOwner', base64(mrOwner)),
    mrOwnerConfig && textElement('mrOwnerConfig', base64(mrOwnerConfig)),
    element('quoteGenerationService', { path: quoteServiceSocket }),
  ]);
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');

const yesOrAbsent = (set: boolean) => (set ? 'yes' : undefined);

const hex = (value: number | bigint, digits: number) =>
  `0x${value.toString(16).padStart(digits, '0')}`;

function demandLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new TypeError(`${name} has ${bytes.length} bytes`);
}
