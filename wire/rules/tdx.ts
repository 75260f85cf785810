import { CvmpError } from '#core/errors.js';
import { type TcbStatus, tcbStatuses } from '#core/tdx/endorsement/tcb-status.js';
import type { TdxLevel, TdxRules } from '#core/tdx/rules.js';
import type {
  TdxLevel as TdxLevelMessage,
  TdxRules as TdxRulesMessage,
} from '#gen/cvmp/v1/tdx_rules_pb.js';
import { momentOf, once, onceEach, stated, withinMask } from './lists.js';

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function tdxRulesOf(message: TdxRulesMessage, path: string): TdxRules {
  const references = message.references.map(({ mrTd, rtmr0, rtmr1, rtmr2, rtmr3, ...rest }) => ({
    mrTd,
    rtmr: [stated(rtmr0), stated(rtmr1), stated(rtmr2), stated(rtmr3)] as const,
    imageSvn: rest.imageSvn,
    name: rest.name,
  }));
  onceEach(
    references.map(({ mrTd, rtmr }) => [mrTd, ...rtmr]),
    `${path}.references`,
  );
  once(
    message.advisoriesAccepted.map(({ id }) => id),
    (i) => `${path}.advisories_accepted[${i}].id`,
  );
  withinMask(message.tdAttributesMask, message.tdAttributesValue, `${path}.td_attributes_value`);
  withinMask(message.xfamMask, message.xfamValue, `${path}.xfam_value`);
  return {
    references,
    rtmrsExplained: message.rtmrsExplained,
    requireSecureBoot: message.requireSecureBoot,
    statuses: message.statuses.map((text, i) => statusOf(text, `${path}.statuses[${i}]`)),
    advisoriesAccepted: message.advisoriesAccepted.map(({ id, until }, i) => ({
      id,
      until: momentOf(until, `${path}.advisories_accepted[${i}].until`),
    })),
    advisoriesDenied: message.advisoriesDenied,
    tdAttributesMask: message.tdAttributesMask,
    tdAttributesValue: message.tdAttributesValue,
    allowSeptVe: message.allowSeptVe,
    xfamMask: message.xfamMask,
    xfamValue: message.xfamValue,
    serviceTds: message.serviceTds,
    mrOwner: stated(message.mrOwner),
    mrOwnerConfig: stated(message.mrOwnerConfig),
    modules: message.modules,
    platformAllow: message.platformAllow,
    platformDeny: message.platformDeny,
    familyAllow: message.familyAllow,
    familyDeny: message.familyDeny,
  };
}

/**
 * @param path of the message in its policy
 * @throws CvmpError INVALID_FIELD, POLICY_INVALID
 */
export function tdxLevelOf(message: TdxLevelMessage, path: string): TdxLevel {
  once(
    message.modulesMin.map(({ version }) => `${version}`),
    (i) => `${path}.modules_min[${i}].version`,
  );
  return {
    statuses: message.statuses.map((text, i) => statusOf(text, `${path}.statuses[${i}]`)),
    tcbDateMin: momentOf(message.tcbDateMin, `${path}.tcb_date_min`) ?? 0,
    evaluationNumberMin: message.evaluationNumberMin,
    imageSvnMin: message.imageSvnMin,
    modulesMin: message.modulesMin.map(({ version, svn }) => ({ version, svn })),
    advisoriesClosed: message.advisoriesClosed,
  };
}

/** A misspelt status would admit nothing; Revoked is never admitted. */
function statusOf(text: string, field: string): TcbStatus {
  const known = tcbStatuses.filter((status) => status !== 'Revoked');
  const status = known.find((one) => one === text);
  if (status !== undefined) return status;
  const what = `${field} is "${text}", not one of ${known.join(', ')}`;
  throw new CvmpError('INVALID_FIELD', what, { field });
}
