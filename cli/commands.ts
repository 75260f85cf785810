import type { Command } from './command.js';
import { auditExplain } from './commands/audit-explain.js';
import { auditExport } from './commands/audit-export.js';
import { auditForget } from './commands/audit-forget.js';
import { auditList } from './commands/audit-list.js';
import { auditVerify } from './commands/audit-verify.js';
import { certificateAdd } from './commands/certificate-add.js';
import { certificateRemove } from './commands/certificate-remove.js';
import { cvmCreate } from './commands/cvm-create.js';
import { cvmDelete } from './commands/cvm-delete.js';
import { cvmList } from './commands/cvm-list.js';
import { cvmShow } from './commands/cvm-show.js';
import { cvmStart } from './commands/cvm-start.js';
import { cvmStop } from './commands/cvm-stop.js';
import { cvmUpdate } from './commands/cvm-update.js';
import { cvmVerify } from './commands/cvm-verify.js';
import { cvmWatch } from './commands/cvm-watch.js';
import { delegateCreate } from './commands/delegate-create.js';
import { delegateRevoke } from './commands/delegate-revoke.js';
import { dev } from './commands/dev.js';
import { earAppraise } from './commands/ear-appraise.js';
import { earKey } from './commands/ear-key.js';
import { earVerify } from './commands/ear-verify.js';
import { evidenceShow } from './commands/evidence-show.js';
import { evidenceVerify } from './commands/evidence-verify.js';
import { featureList } from './commands/feature-list.js';
import { hostDoctor } from './commands/host-doctor.js';
import { imageList } from './commands/image-list.js';
import { keyCancelDestroy } from './commands/key-cancel-destroy.js';
import { keyCompromised } from './commands/key-compromised.js';
import { keyDestroy } from './commands/key-destroy.js';
import { keyList } from './commands/key-list.js';
import { keyOrder } from './commands/key-order.js';
import { keyReceipt } from './commands/key-receipt.js';
import { keyReceiptVerify } from './commands/key-receipt-verify.js';
import { keyResume } from './commands/key-resume.js';
import { keyRetireEpoch } from './commands/key-retire-epoch.js';
import { keyRotate } from './commands/key-rotate.js';
import { keyShow } from './commands/key-show.js';
import { keySuspend } from './commands/key-suspend.js';
import { keyTakeover } from './commands/key-takeover.js';
import { measureSnp } from './commands/measure-snp.js';
import { measureTdx } from './commands/measure-tdx.js';
import { measureUki } from './commands/measure-uki.js';
import { operatorInit } from './commands/operator-init.js';
import { policyCheck } from './commands/policy-check.js';
import { policyImport } from './commands/policy-import.js';
import { policyList } from './commands/policy-list.js';
import { policyReattest } from './commands/policy-reattest.js';
import { policySet } from './commands/policy-set.js';
import { policyShow } from './commands/policy-show.js';
import { policySign } from './commands/policy-sign.js';
import { policyTest } from './commands/policy-test.js';
import { signerInit } from './commands/signer-init.js';
import { tenantInit } from './commands/tenant-init.js';
import { tenantLimit } from './commands/tenant-limit.js';
import { tenantList } from './commands/tenant-list.js';
import { tenantRegister } from './commands/tenant-register.js';
import { tenantReplaceKey } from './commands/tenant-replace-key.js';
import { tenantResume } from './commands/tenant-resume.js';
import { tenantRotate } from './commands/tenant-rotate.js';
import { tenantShow } from './commands/tenant-show.js';
import { tenantSuspend } from './commands/tenant-suspend.js';
import { token } from './commands/token.js';

/** Every command, in the order of the overview. */
export const commands: readonly Command[] = [
  dev,
  featureList,
  imageList,
  measureSnp,
  measureTdx,
  measureUki,
  cvmCreate,
  cvmList,
  cvmShow,
  cvmVerify,
  cvmWatch,
  cvmStart,
  cvmStop,
  cvmUpdate,
  cvmDelete,
  policySet,
  policySign,
  policyCheck,
  policyTest,
  policyImport,
  policyList,
  policyShow,
  policyReattest,
  keyList,
  keyShow,
  keySuspend,
  keyResume,
  keyTakeover,
  keyCompromised,
  keyRotate,
  keyRetireEpoch,
  keyDestroy,
  keyOrder,
  keyCancelDestroy,
  keyReceipt,
  keyReceiptVerify,
  auditList,
  auditExport,
  auditVerify,
  auditExplain,
  auditForget,
  evidenceVerify,
  evidenceShow,
  earVerify,
  earAppraise,
  earKey,
  tenantInit,
  tenantShow,
  tenantRotate,
  signerInit,
  delegateCreate,
  delegateRevoke,
  certificateAdd,
  certificateRemove,
  tenantRegister,
  tenantList,
  tenantLimit,
  tenantSuspend,
  tenantResume,
  tenantReplaceKey,
  operatorInit,
  token,
  hostDoctor,
];
