import { CvmpError } from '#core/errors.js';
import type { VendorStatement } from '#core/rats/endorsements.js';
import { isProduct, productNames } from '#core/snp/product.js';
import { readNamedFile } from '#server/host/config/files.js';
import type { CommandArguments, ProgramCommand } from '#server/host/program.js';
import type { EndorsementFolder } from './folder.js';
import { namedDocuments, statementsFor } from './named.js';
import { type EndorsementParts, openEndorsements } from './open.js';
import type { EndorsementSettings } from './settings.js';
import { nameOf, statementNamed } from './statements.js';
import { readCertificates } from './verify.js';

/** What the commands take from the program. */
export type CommandParts<C> = (config: C) => EndorsementParts & {
  readonly settings: EndorsementSettings;
};

/** `endorsements list|fetch|import`: what is in the folder, and how it gets there. */
export function endorsementCommands<C>(
  partsOf: CommandParts<C>,
): Readonly<Record<string, ProgramCommand<C>>> {
  return {
    'endorsements list': {
      summary: 'What the folder of endorsements holds, and whether it is good now.',
      run: (config) => list(partsOf(config)),
    },
    'endorsements fetch': {
      summary:
        'Get from AMD and Intel what evidence needs (report, quote or collection), or the chain ' +
        'and lists of a product; again what is to be renewed, without options.',
      options: { evidence: 'FILE', product: productNames.join('|') },
      run: (config, given) => fetch(partsOf(config), given),
    },
    'endorsements import': {
      summary: 'Take certificates, revocation lists (DER, PEM) and collateral (JSON) from files.',
      positionals: 'FILE...',
      run: (config, given) => importFiles(partsOf(config), given),
    },
  };
}

type Parts = EndorsementParts & { readonly settings: EndorsementSettings };

async function list(parts: Parts): Promise<readonly string[]> {
  const { keeper, folder } = openEndorsements(parts.settings, parts, false);
  const rows: string[][] = [['STATE', 'GOT', 'GOOD UNTIL', 'NAME']];
  for (const { name, obtainedAt } of await folder.list()) {
    const statement = statementNamed(name);
    if (statement === undefined) continue;
    const holding = await keeper.holding(statement);
    const until = holding.state === 'good' ? day(holding.held.validUntil) : '-';
    const what = 'error' in holding ? holding.error.message : name;
    rows.push([holding.state, day(obtainedAt), until, what]);
  }
  if (rows.length === 1) return [`${folder.path} holds no endorsements`];
  return table(rows);
}

async function fetch(parts: Parts, given: CommandArguments): Promise<readonly string[]> {
  const { keeper, folder, close } = openEndorsements(parts.settings, parts, true);
  const start = parts.clock.now();
  try {
    const wanted = new Map<string, VendorStatement>();
    for (const statement of await wantedStatements(parts, given, folder)) {
      wanted.set(nameOf(statement), statement);
    }
    const lines: string[] = [];
    for (const [name, statement] of wanted) {
      // One may have been got for another already.
      const now = await keeper.holding(statement);
      const isNew = now.state === 'good' && now.held.obtainedAt > start;
      const { validUntil } = isNew ? now.held : await keeper.fetched(statement);
      lines.push(`${name}: good until ${day(validUntil)}`);
    }
    return lines;
  } finally {
    await close();
  }
}

async function wantedStatements(
  { anchors, clock }: Parts,
  { option }: CommandArguments,
  folder: EndorsementFolder,
): Promise<readonly VendorStatement[]> {
  const all: VendorStatement[] = [];
  for (const product of option('product')) {
    if (!isProduct(product)) {
      throw new CvmpError('USAGE', `--product is one of ${productNames.join(', ')}`);
    }
    for (const signer of ['vcek', 'vlek'] as const) {
      all.push({ kind: 'amd-chain', product, signer }, { kind: 'amd-crl', product, signer });
    }
  }
  for (const file of option('evidence')) {
    const evidence = readNamedFile(file, '--evidence');
    all.push(...(await statementsFor(evidence, anchors, clock.now())));
  }
  if (all.length > 0) return all;
  const held = (await folder.list()).flatMap(({ name }) => statementNamed(name) ?? []);
  const renewed = held.filter(({ kind }) => kind !== 'amd-vcek');
  if (renewed.length > 0) return renewed;
  throw new CvmpError(
    'USAGE',
    `${folder.path} holds nothing to renew: name --evidence or --product`,
  );
}

async function importFiles(
  parts: Parts,
  { positionals }: CommandArguments,
): Promise<readonly string[]> {
  if (positionals.length === 0) throw new CvmpError('USAGE', 'name the files to import');
  const { keeper, folder } = openEndorsements(parts.settings, parts, false);
  const files = positionals.map((name) => ({ name, bytes: readNamedFile(name, 'import') }));
  const held = [];
  for (const { name } of await folder.list()) {
    const statement = statementNamed(name);
    if (statement === undefined || statement.kind === 'amd-vcek') continue;
    const holding = await keeper.holding(statement);
    if (holding.state === 'good') {
      held.push(...readCertificates(holding.held.endorsements.certificates));
    }
  }
  const named = namedDocuments(files, held);
  if (named.length === 0)
    throw new CvmpError('ENDORSEMENT_INVALID', 'nothing to keep in the files');
  const lines: string[] = [];
  for (const { statement, document } of named) {
    const { validUntil } = await keeper.keep(statement, document);
    lines.push(`${nameOf(statement)}: good until ${day(validUntil)}`);
  }
  return lines;
}

function day(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  '),
  );
}
