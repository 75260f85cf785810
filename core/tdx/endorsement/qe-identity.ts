import { equalBytes, toHex } from '../../bytes.js';
import { CvmpError } from '../../errors.js';
import type { SgxReport } from '../report.js';
import { JsonReader } from './signed-json.js';
import {
  type CollateralHead,
  type IsvLevel,
  readCollateralHead,
  readIsvLevel,
} from './tcb-info.js';

/** What Intel's Quoting Enclave for TDs must be (Intel PCS API v4, "Get TDX QE Identity"). */
export interface QeIdentity extends CollateralHead {
  /** 4 bytes each. */
  readonly miscSelect: Uint8Array;
  readonly miscSelectMask: Uint8Array;
  /** 16 bytes each. */
  readonly attributes: Uint8Array;
  readonly attributesMask: Uint8Array;
  /** 32 bytes. */
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  /** As Intel sorted them, highest first. */
  readonly levels: readonly IsvLevel[];
}

const versionMin = 2;
const levelsMax = 256;
/** ATTRIBUTES.DEBUG of an enclave: its memory can be read. */
const debugBit = 0x02;

/**
 * Reads QE Identity (protocol.md s.3.2 step 4).
 * @param value the signed value
 * @throws CvmpError MALFORMED, SIZE, COLLATERAL_TYPE
 */
export function readQeIdentity(value: unknown): QeIdentity {
  const json = new JsonReader(value, 'enclaveIdentity');
  return {
    ...readCollateralHead(json, 'TD_QE', versionMin),
    miscSelect: json.hex('miscselect', 4),
    miscSelectMask: json.hex('miscselectMask', 4),
    attributes: json.hex('attributes', 16),
    attributesMask: json.hex('attributesMask', 16),
    mrSigner: json.hex('mrsigner', 32),
    isvProdId: json.integer('isvprodid', 0xffff),
    levels: json.list('tcbLevels', levelsMax, readIsvLevel),
  };
}

/**
 * Step 8: the Quoting Enclave is Intel's, in production mode (protocol.md s.3.2).
 * @throws CvmpError QE_IDENTITY_MISMATCH
 */
export function verifyQeIdentity(report: SgxReport, identity: QeIdentity): void {
  if (!equalBytes(report.mrSigner, identity.mrSigner)) {
    throw mismatch('mrsigner', toHex(report.mrSigner));
  }
  if (report.isvProdId !== identity.isvProdId) throw mismatch('isvprodid', `${report.isvProdId}`);
  if (!equalUnderMask(report.miscSelect, identity.miscSelectMask, identity.miscSelect)) {
    throw mismatch('miscselect', toHex(report.miscSelect));
  }
  if (!equalUnderMask(report.attributes, identity.attributesMask, identity.attributes)) {
    throw mismatch('attributes', toHex(report.attributes));
  }
  // The mask covers it in all collateral seen; a debug enclave is not believed whatever a mask says.
  if ((report.attributes[0]! & debugBit) !== 0) throw mismatch('attributes', 'DEBUG');
}

function equalUnderMask(actual: Uint8Array, mask: Uint8Array, wanted: Uint8Array): boolean {
  return equalBytes(
    actual.map((byte, i) => byte & mask[i]!),
    wanted,
  );
}

function mismatch(name: string, found: string): CvmpError {
  return new CvmpError('QE_IDENTITY_MISMATCH', `the Quoting Enclave has ${name} ${found}`, {
    field: `qe_report.${name}`,
  });
}
