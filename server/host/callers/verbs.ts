import { CvmpError } from '#core/errors.js';

/** What a tenant can let somebody do, one verb at a time. */
export const tenantVerbs = [
  'cvm.read',
  'cvm.create',
  'cvm.operate',
  'cvm.delete',
  'policy.read',
  'policy.write',
  'key.read',
  'key.suspend',
  'key.rotate',
  'key.destroy',
  'audit.read',
  'tenant.read',
  'tenant.admin',
] as const;

/** What an operator can do. Nothing of what a tenant has is among it. */
export const operatorVerbs = [
  'tenants.read',
  'tenants.register',
  'tenants.suspend',
  'tenants.limit',
] as const;

export type TenantVerb = (typeof tenantVerbs)[number];
export type OperatorVerb = (typeof operatorVerbs)[number];
export type Verb = TenantVerb | OperatorVerb;

/** Roles are sets of verbs with a name; a scope may name either. */
export const tenantRoles = {
  tenant: tenantVerbs,
  'policy-author': ['policy.read', 'policy.write', 'cvm.read'],
  'cvm-operator': ['cvm.read', 'cvm.create', 'cvm.operate', 'cvm.delete', 'policy.read'],
  'key-custodian': ['key.read', 'key.suspend', 'key.rotate', 'key.destroy', 'policy.read'],
  auditor: ['audit.read', 'cvm.read', 'policy.read', 'key.read', 'tenant.read'],
} as const satisfies Record<string, readonly TenantVerb[]>;

export const operatorRoles = {
  operator: operatorVerbs,
  registrar: ['tenants.read', 'tenants.register'],
  monitor: ['tenants.read'],
} as const satisfies Record<string, readonly OperatorVerb[]>;

export type Audience = 'tenant' | 'operator';

const verbsOf: Readonly<Record<Audience, readonly Verb[]>> = {
  tenant: tenantVerbs,
  operator: operatorVerbs,
};
const rolesOf: Readonly<Record<Audience, Readonly<Record<string, readonly Verb[]>>>> = {
  tenant: tenantRoles,
  operator: operatorRoles,
};

/** All that somebody of this audience can be allowed. */
export function allVerbs(audience: Audience): ReadonlySet<Verb> {
  return new Set(verbsOf[audience]);
}

/**
 * The verbs that a scope stands for.
 * @param words roles and verbs of this audience
 * @throws CvmpError INVALID_FIELD where a word is none, or there is none
 */
export function verbsOfScope(audience: Audience, words: readonly string[]): ReadonlySet<Verb> {
  if (words.length === 0) throw badScope('is empty');
  return new Set(words.flatMap((word) => verbsOfWord(audience, word)));
}

function verbsOfWord(audience: Audience, word: string): readonly Verb[] {
  const roles = rolesOf[audience];
  if (Object.hasOwn(roles, word)) return roles[word]!;
  const verb = verbsOf[audience].find((known) => known === word);
  if (verb === undefined) throw badScope(`names ${word}, which is no role or verb of ${audience}s`);
  return [verb];
}

/** What both allow. */
export function commonVerbs(a: ReadonlySet<Verb>, b: ReadonlySet<Verb>): ReadonlySet<Verb> {
  return new Set([...a].filter((verb) => b.has(verb)));
}

function badScope(what: string): CvmpError {
  return new CvmpError('INVALID_FIELD', `scope ${what}`, { field: 'scope' });
}
