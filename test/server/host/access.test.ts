import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { DescService } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CvmpError } from '#core/errors.js';
import { accessTable, authorize, demandAccess, needsToken } from '#server/host/callers/access.js';
import { allVerbs, operatorVerbs, tenantVerbs, type Verb } from '#server/host/callers/verbs.js';
import { type Caller, methodName } from '#server/host/handlers.js';
import { operatorCaller, tenantCaller } from '../../fakes/callers.js';
import { refusalOf } from '../../refusal.js';

const folder = fileURLToPath(new URL('../../../gen/cvmp/v1/', import.meta.url));

/** Every service of gen/, also one that is added tomorrow. */
async function allServices(): Promise<DescService[]> {
  const files = readdirSync(folder).filter((name) => name.endsWith('_pb.ts'));
  const modules = await Promise.all(
    files.map((name) => import(`${folder}${name}`) as Promise<Record<string, unknown>>),
  );
  const isService = (value: unknown): value is DescService =>
    typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'service';
  return modules.flatMap((module) => Object.values(module).filter(isService));
}

const callers: Record<string, Caller> = {
  anonymous: { role: 'anonymous' },
  tenant: tenantCaller('acme'),
  operator: operatorCaller,
  local: { role: 'local' },
};

describe('who may call what: one table (issue: bad input)', () => {
  test('every RPC of gen/ is in the table, and nothing else', async () => {
    const names = (await allServices()).flatMap((service) => service.methods).map(methodName);
    expect(names.length).toBeGreaterThan(15);
    expect(Object.keys(accessTable).sort()).toEqual(names.sort());
  });

  test('a server does not start with a method that is missing, or that belongs elsewhere', async () => {
    const services = await allServices();
    const guest = services.filter((s) => s.typeName === 'cvmp.v1.GuestService');
    const local = services.filter((s) => s.typeName === 'cvmp.v1.OperatorService');
    const others = services.filter((s) => !guest.includes(s) && !local.includes(s));
    expect(() => demandAccess(others, 'port')).not.toThrow();
    expect(() => demandAccess(local, 'socket')).not.toThrow();
    for (const [wrong, where] of [
      [guest, 'port'],
      [guest, 'socket'],
      [local, 'port'],
      [others, 'socket'],
    ] as const) {
      expect(() => demandAccess(wrong, where)).toThrow(TypeError);
    }
    const renamed = { ...others[0]!, typeName: 'cvmp.v1.Tomorrow' } as DescService;
    const methods = renamed.methods.map((m) => ({ ...m, parent: renamed }));
    const tomorrow = [{ ...renamed, methods } as DescService];
    expect(() => demandAccess(tomorrow, 'port')).toThrow(TypeError);
  });

  test.each(Object.entries(accessTable))(
    '%s is for its audience and nobody else',
    async (name, access) => {
      for (const [role, caller] of Object.entries(callers)) {
        const allowed = access.audience === 'attested' || access.audience === role;
        const outcome = await refusalOf(() => authorize(name, caller));
        expect(outcome).toBe(allowed ? 'accepted' : 'NOT_ALLOWED');
      }
      expect(needsToken(name)).toBe(access.audience !== 'attested');
    },
  );

  const verbRows = Object.entries(accessTable).flatMap(([name, access]) =>
    'verb' in access ? [[name, access.verb, access.audience] as const] : [],
  );
  test.each(verbRows)('%s needs %s, and nothing else helps', async (name, verb, audience) => {
    const caller = callers[audience]!;
    const all = [...allVerbs(audience)];
    const only = (...verbs: Verb[]) => ({ ...caller, verbs: new Set(verbs) }) as Caller;
    expect(await refusalOf(() => authorize(name, only(verb)))).toBe('accepted');
    const others = all.filter((other) => other !== verb);
    expect(await refusalOf(() => authorize(name, only(...others)))).toBe('NOT_ALLOWED');
  });

  test('every verb opens something, and an operator has none of what a tenant has', () => {
    const used = new Set(verbRows.map(([, verb]) => verb));
    const unused = [...tenantVerbs, ...operatorVerbs].filter((verb) => !used.has(verb));
    expect(unused).toEqual([]);
    expect(
      operatorVerbs.filter((verb) => (tenantVerbs as readonly string[]).includes(verb)),
    ).toEqual([]);
  });

  test('an unknown method is for nobody', () => {
    for (const caller of Object.values(callers)) {
      expect(() => authorize('cvmp.v1.Nothing/At', caller)).toThrow(CvmpError);
    }
  });
});
