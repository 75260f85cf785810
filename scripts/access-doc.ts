// Writes docs/access.md from the tables in server/host/callers.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Access, accessTable } from '#server/host/callers/access.js';
import { operatorRoles, tenantRoles } from '#server/host/callers/verbs.js';

const root = new URL('../../', import.meta.url);

const who: Readonly<Record<Access['audience'], string>> = {
  tenant: 'tenant',
  operator: 'operator',
  attested: 'anybody; inside, only attested Key Agents',
  local: "whoever may open the server's own Unix socket",
  guest: 'served by the Key Agent, never by a server',
};

/** The text of docs/access.md. */
export function accessDoc(): string {
  const methods = Object.entries(accessTable).map(([name, access]) => {
    const verb = 'verb' in access ? `\`${access.verb}\`` : '';
    return `| \`${name.replace('cvmp.v1.', '')}\` | ${who[access.audience]} | ${verb} |`;
  });
  const roles = (table: Readonly<Record<string, readonly string[]>>) =>
    Object.entries(table).map(([role, verbs]) => {
      const words = verbs.map((verb) => `\`${verb}\``).join(' ');
      return `| \`${role}\` | ${words} |`;
    });
  const lines = [
    '# Who may call what',
    '',
    '<!-- Written by `npm run docs` from server/host/callers; do not edit. -->',
    '',
    "A server does not start with a method that is missing here. A tenant's call is about what is its",
    'own; what is not, and what is not there, is the same NOT_FOUND. Health and reflection are for',
    'anybody.',
    '',
    '| method | who | verb |',
    '| --- | --- | --- |',
    ...methods,
    '',
    '## Roles',
    '',
    'A scope (of a token, a delegation, a client certificate, an OIDC role) is a list of roles and verbs.',
    '',
    '| role of a tenant | verbs |',
    '| --- | --- |',
    ...roles(tenantRoles),
    '',
    '| role of an operator | verbs |',
    '| --- | --- |',
    ...roles(operatorRoles),
  ];
  return `${lines.join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('docs/access.md', root), accessDoc());
}
