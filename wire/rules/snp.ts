import { toHex } from '#core/bytes.js';
import { CvmpError } from '#core/errors.js';
import { type IdBlock, parseIdBlock } from '#core/snp/launch/id-block.js';
import type { FirmwareVersion } from '#core/snp/parse.js';
import { productNames, type SnpTcb } from '#core/snp/product.js';
import type { SnpLevel, SnpRules } from '#core/snp/rules.js';
import type { SnpTcb as SnpTcbMessage } from '#gen/cvmp/v1/evidence_pb.js';
import type {
  SnpFirmwareVersion,
  SnpLevel as SnpLevelMessage,
  SnpRules as SnpRulesMessage,
} from '#gen/cvmp/v1/policy_pb.js';
import { once, stated, withinMask } from './lists.js';

/** CHIP_ID whole, or its significant bytes (Turin). */
const chipIdLengths = [64, 8];

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function snpRulesOf(message: SnpRulesMessage, path: string): SnpRules {
  const { measurements, products, familyId, imageId } = message;
  once(
    measurements.map(({ digest }) => toHex(digest)),
    (i) => `${path}.measurements[${i}].digest`,
  );
  for (const [i, name] of products.entries()) knownProduct(name, `${path}.products[${i}]`);
  for (const [i, name] of message.productsDeny.entries()) {
    knownProduct(name, `${path}.products_deny[${i}]`);
  }
  for (const [i, id] of message.chipAllow.entries()) chipId(id, `${path}.chip_allow[${i}]`);
  for (const [i, id] of message.chipDeny.entries()) chipId(id, `${path}.chip_deny[${i}]`);
  withinMask(message.guestPolicyMask, message.guestPolicyValue, `${path}.guest_policy_value`);
  withinMask(message.platformInfoMask, message.platformInfoValue, `${path}.platform_info_value`);
  return {
    measurements: measurements.map(({ digest, imageSvn, name }) => ({ digest, imageSvn, name })),
    vmpl: message.vmpl,
    products,
    productsDeny: message.productsDeny,
    chipAllow: message.chipAllow,
    chipDeny: message.chipDeny,
    guestPolicyMask: message.guestPolicyMask,
    guestPolicyValue: message.guestPolicyValue,
    guestAbiMin: message.guestAbiMin && {
      major: message.guestAbiMin.major,
      minor: message.guestAbiMin.minor,
    },
    platformInfoMask: message.platformInfoMask,
    platformInfoValue: message.platformInfoValue,
    allowNoAliasCheck: message.allowNoAliasCheck,
    cspIds: message.cspIds,
    allowReportV2: message.allowReportV2,
    migrationAgents: message.migrationAgents,
    idKeyDigests: message.idKeyDigests,
    authorKeyDigests: message.authorKeyDigests,
    idBlocks: message.idBlocks.map((block, i) => idBlock(block, `${path}.id_blocks[${i}]`)),
    familyId: stated(familyId),
    imageId: stated(imageId),
    allowProvisionalFirmware: message.allowProvisionalFirmware,
    requireCrl: message.requireCrl,
    crlAgeSecondsMax: message.crlAgeSecondsMax,
  };
}

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function snpLevelOf(message: SnpLevelMessage, path: string): SnpLevel {
  const row = (i: number) => `${path}.tcb_min[${i}]`;
  const tcbMin = message.tcbMin.map(({ product, tcb, committed, launch }, i) => {
    knownProduct(product, `${row(i)}.product`);
    return {
      product,
      tcb: tcbOf(tcb),
      committed: committed && tcbOf(committed),
      launch: launch && tcbOf(launch),
    };
  });
  once(
    tcbMin.map(({ product }) => product),
    (i) => `${row(i)}.product`,
  );
  return {
    tcbMin,
    guestSvnMin: message.guestSvnMin,
    imageSvnMin: message.imageSvnMin,
    mitigationVector: message.mitigationVector,
    firmwareMin: message.firmwareMin && firmwareOf(message.firmwareMin),
  };
}

function tcbOf(message: SnpTcbMessage | undefined): SnpTcb {
  const { fmc = 0, bootloader = 0, tee = 0, snp = 0, microcode = 0 } = message ?? {};
  return { fmc, bootloader, tee, snp, microcode };
}

function firmwareOf({ major, minor, build }: SnpFirmwareVersion): FirmwareVersion {
  return { major, minor, build };
}

/** An ID block that no firmware takes would be a rule that nothing meets. */
function idBlock(bytes: Uint8Array, field: string): IdBlock {
  try {
    return parseIdBlock(bytes);
  } catch (cause) {
    throw new CvmpError('INVALID_FIELD', `${field} is no ID block`, { field, cause });
  }
}

/** A misspelt product would be a rule that is never looked at. */
function knownProduct(name: string, field: string): void {
  if (productNames.some((known) => known === name)) return;
  const what = `${field} is "${name}", not one of ${productNames.join(', ')}`;
  throw new CvmpError('INVALID_FIELD', what, { field });
}

function chipId(id: Uint8Array, field: string): void {
  if (chipIdLengths.includes(id.length)) return;
  throw new CvmpError('INVALID_FIELD', `${field} has ${id.length} bytes, not 64 or 8`, { field });
}
