import type { DescService } from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import { type Caller, methodName } from '../handlers.js';
import type { OperatorVerb, TenantVerb } from './verbs.js';

/**
 * Who may call a method, and what they must be allowed to do.
 * - tenant, operator: the audience of the caller's credentials, with the verb that these must hold;
 *   none where every caller of that audience should hold the server to what it said
 * - attested: anybody may open it; the session inside admits only attested Key Agents
 * - local: whoever may open the server's own Unix socket; never served on a port
 * - guest: served by the Key Agent inside a CVM, never by a server
 */
export type Access =
  | { readonly audience: 'tenant'; readonly verb: TenantVerb }
  | { readonly audience: 'operator'; readonly verb: OperatorVerb }
  | { readonly audience: 'tenant' | 'attested' | 'local' | 'guest' };

const tenant = (verb: TenantVerb): Access => ({ audience: 'tenant', verb });
const anyTenant: Access = { audience: 'tenant' };
const operator = (verb: OperatorVerb): Access => ({ audience: 'operator', verb });
const attested: Access = { audience: 'attested' };
const local: Access = { audience: 'local' };
const guest: Access = { audience: 'guest' };

/** Every RPC of proto/. A method that is missing here keeps a server from starting. */
export const accessTable: Readonly<Record<string, Access>> = {
  'cvmp.v1.CvmService/CVMFeature': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMCreate': tenant('cvm.create'),
  'cvmp.v1.CvmService/CVMGet': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMList': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMWatch': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMStart': tenant('cvm.operate'),
  'cvmp.v1.CvmService/CVMStop': tenant('cvm.operate'),
  'cvmp.v1.CvmService/CVMUpdate': tenant('cvm.operate'),
  'cvmp.v1.CvmService/CVMDelete': tenant('cvm.delete'),
  'cvmp.v1.CvmService/CVMVerify': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMActivate': tenant('cvm.read'),
  'cvmp.v1.CvmService/CVMImage': tenant('cvm.read'),

  'cvmp.v1.KeyService/Session': attested,

  'cvmp.v1.PolicyService/SetKeyPolicy': tenant('policy.write'),
  'cvmp.v1.PolicyService/GetKeyPolicy': tenant('policy.read'),
  'cvmp.v1.PolicyService/ListKeyPolicies': tenant('policy.read'),
  'cvmp.v1.PolicyService/RequireReattestation': tenant('policy.write'),

  'cvmp.v1.KeyAdminService/GetKey': tenant('key.read'),
  'cvmp.v1.KeyAdminService/ListKeys': tenant('key.read'),
  'cvmp.v1.KeyAdminService/SuspendKey': tenant('key.suspend'),
  'cvmp.v1.KeyAdminService/ResumeKey': tenant('key.suspend'),
  'cvmp.v1.KeyAdminService/MarkKeyCompromised': tenant('key.suspend'),
  'cvmp.v1.KeyAdminService/TakeOverKey': tenant('key.suspend'),
  'cvmp.v1.KeyAdminService/RotateKey': tenant('key.rotate'),
  'cvmp.v1.KeyAdminService/RetireKeyEpochs': tenant('key.destroy'),
  'cvmp.v1.KeyAdminService/DestroyKey': tenant('key.destroy'),
  'cvmp.v1.KeyAdminService/CancelDestroy': tenant('key.destroy'),
  'cvmp.v1.KeyAdminService/GetReceipt': tenant('key.read'),

  'cvmp.v1.AuditService/ListAuditEntries': tenant('audit.read'),
  'cvmp.v1.AuditService/GetCheckpoint': anyTenant,
  'cvmp.v1.AuditService/ProveConsistency': anyTenant,
  'cvmp.v1.AuditService/ProveInclusion': tenant('audit.read'),
  'cvmp.v1.AuditService/ExportAuditRecords': tenant('audit.read'),
  'cvmp.v1.AuditService/ExplainAuditEntry': tenant('audit.read'),

  'cvmp.v1.TenantService/RegisterTenant': operator('tenants.register'),
  'cvmp.v1.TenantService/ListTenants': operator('tenants.read'),
  'cvmp.v1.TenantService/GetTenant': operator('tenants.read'),
  'cvmp.v1.TenantService/SuspendTenant': operator('tenants.suspend'),
  'cvmp.v1.TenantService/SetTenantLimits': operator('tenants.limit'),
  'cvmp.v1.TenantService/ReplaceTenantKey': operator('tenants.register'),

  'cvmp.v1.AccessService/GetAccess': tenant('tenant.read'),
  'cvmp.v1.AccessService/RevokeDelegations': tenant('tenant.admin'),
  'cvmp.v1.AccessService/AddClientCertificate': tenant('tenant.admin'),
  'cvmp.v1.AccessService/RemoveClientCertificate': tenant('tenant.admin'),
  'cvmp.v1.AccessService/RotateTenantKey': tenant('tenant.admin'),

  'cvmp.v1.OperatorService/Unseal': local,
  'cvmp.v1.OperatorService/Seal': local,
  'cvmp.v1.OperatorService/PrepareMasterKey': local,
  'cvmp.v1.OperatorService/CommitMasterKey': local,
  'cvmp.v1.OperatorService/Rewrap': local,
  'cvmp.v1.OperatorService/CopyVault': local,
  'cvmp.v1.OperatorService/ServerStatus': local,
  'cvmp.v1.OperatorService/ReloadServer': local,
  'cvmp.v1.OperatorService/ShowRollback': local,
  'cvmp.v1.OperatorService/AcceptRollback': local,
  'cvmp.v1.OperatorService/ExportLog': local,
  'cvmp.v1.OperatorService/CreateBackup': local,

  'cvmp.v1.GuestService/GuestEvidence': guest,
  'cvmp.v1.GuestService/GuestActivate': guest,
  'cvmp.v1.GuestService/GuestStatus': guest,
};

/**
 * What a server checks before it starts.
 * @param where what serves them: a port of the network, or the local Unix socket
 * @throws TypeError where a method of these services is not in the table, or not for this place
 */
export function demandAccess(services: readonly DescService[], where: 'port' | 'socket'): void {
  for (const method of services.flatMap((service) => service.methods)) {
    const access = accessTable[methodName(method)]?.audience;
    if (access === undefined) throw new TypeError(`nobody may call ${methodName(method)}`);
    if (access === 'guest' || (access === 'local') !== (where === 'socket')) {
      throw new TypeError(`${methodName(method)} is not for a ${where} of a server`);
    }
  }
}

/** Whether a call needs credentials at all. */
export function needsToken(name: string): boolean {
  return accessTable[name]?.audience !== 'attested';
}

/** @throws CvmpError NOT_ALLOWED */
export function authorize(name: string, caller: Caller): void {
  const access = accessTable[name];
  if (access?.audience === 'attested') return;
  if (access === undefined || access.audience !== caller.role) {
    throw new CvmpError('NOT_ALLOWED', `${name} is for the ${access?.audience ?? 'nobody'}`);
  }
  const verb = 'verb' in access ? access.verb : undefined;
  if (verb === undefined || !('verbs' in caller) || caller.verbs.has(verb)) return;
  throw new CvmpError('NOT_ALLOWED', `${name} needs ${verb}, which you were not given`);
}
