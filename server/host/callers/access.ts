import type { DescService } from '@bufbuild/protobuf';
import { CvmpError } from '#core/errors.js';
import { type Caller, methodName } from '../handlers.js';

/**
 * Who may call a method.
 * - tenant, operator: the role in the caller's bearer token
 * - attested: anybody may open it; the session inside admits only attested Key Agents
 * - local: whoever may open the server's own Unix socket; never served on a port
 * - guest: served by the Key Agent inside a CVM, never by a server
 */
export type Access = 'tenant' | 'operator' | 'attested' | 'local' | 'guest';

/** Every RPC of proto/. A method that is missing here keeps a server from starting. */
export const accessTable: Readonly<Record<string, Access>> = {
  'cvmp.v1.CvmService/CVMFeature': 'tenant',
  'cvmp.v1.CvmService/CVMCreate': 'tenant',
  'cvmp.v1.CvmService/CVMGet': 'tenant',
  'cvmp.v1.CvmService/CVMList': 'tenant',
  'cvmp.v1.CvmService/CVMWatch': 'tenant',
  'cvmp.v1.CvmService/CVMStart': 'tenant',
  'cvmp.v1.CvmService/CVMStop': 'tenant',
  'cvmp.v1.CvmService/CVMUpdate': 'tenant',
  'cvmp.v1.CvmService/CVMDelete': 'tenant',
  'cvmp.v1.CvmService/CVMVerify': 'tenant',
  'cvmp.v1.CvmService/CVMImage': 'tenant',

  'cvmp.v1.KeyService/Session': 'attested',

  'cvmp.v1.PolicyService/SetKeyPolicy': 'tenant',
  'cvmp.v1.PolicyService/GetKeyPolicy': 'tenant',
  'cvmp.v1.PolicyService/ListKeyPolicies': 'tenant',

  'cvmp.v1.KeyAdminService/GetKey': 'tenant',
  'cvmp.v1.KeyAdminService/ListKeys': 'tenant',

  'cvmp.v1.AuditService/ListAuditEntries': 'tenant',

  'cvmp.v1.TenantService/RegisterTenant': 'operator',
  'cvmp.v1.TenantService/ListTenants': 'operator',

  'cvmp.v1.OperatorService/ServerStatus': 'local',

  'cvmp.v1.GuestService/GuestEvidence': 'guest',
  'cvmp.v1.GuestService/GuestStatus': 'guest',
};

/**
 * What a server checks before it starts.
 * @param where what serves them: a port of the network, or the local Unix socket
 * @throws TypeError where a method of these services is not in the table, or not for this place
 */
export function demandAccess(services: readonly DescService[], where: 'port' | 'socket'): void {
  for (const method of services.flatMap((service) => service.methods)) {
    const access = accessTable[methodName(method)];
    if (access === undefined) throw new TypeError(`nobody may call ${methodName(method)}`);
    if (access === 'guest' || (access === 'local') !== (where === 'socket')) {
      throw new TypeError(`${methodName(method)} is not for a ${where} of a server`);
    }
  }
}

/** Whether a call needs a bearer token at all. */
export function needsToken(name: string): boolean {
  return accessTable[name] !== 'attested';
}

/** @throws CvmpError NOT_ALLOWED */
export function authorize(name: string, caller: Caller): void {
  const access = accessTable[name];
  if (access === 'attested' || access === caller.role) return;
  throw new CvmpError('NOT_ALLOWED', `${name} is for the ${access ?? 'nobody'}`);
}
