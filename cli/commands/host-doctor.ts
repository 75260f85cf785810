import { CvmpError } from '#core/errors.js';
import { type HostAbilities, readAbilities } from '#libvirt/abilities.js';
import { Virsh } from '#libvirt/virsh/virsh.js';
import { command } from '../command.js';
import {
  examineHost,
  type Finding,
  type GuestKind,
  guestKinds,
  type Trials,
  unknownAbilities,
  versionsText,
} from '../host/checks.js';
import { readHostFacts } from '../host/facts.js';
import { tryDomains, unknownTrials } from '../host/trial.js';
import { table } from '../terminal/output.js';

const answerMsMax = 60_000;

export const hostDoctor = command({
  name: 'host doctor',
  summary: 'What this machine lacks to run CVMs: processor, firmware, kernel, libvirt, QEMU.',
  examples: [
    'cvmp host doctor',
    'cvmp host doctor --for sev-snp',
    'cvmp host doctor --uri qemu:///session --for vtpm --json',
  ],
  options: {
    for: {
      type: 'string',
      multiple: true,
      value: guestKinds.join('|'),
      summary: 'Kinds of CVMs that it is to run; all of them unless given.',
    },
    uri: {
      type: 'string',
      value: 'URI',
      summary: "libvirt's connection; qemu:///system unless given. It is asked, never changed.",
    },
    root: {
      type: 'string',
      value: 'DIR',
      summary: 'Where /proc, /sys and /dev of the host are found; / unless given.',
    },
  },
  notes:
    'Run it on the host itself. It ends with 1 where a kind that was named with --for cannot run, or\n' +
    'where none can and none was named. No server is asked.',
  async run({ options }, { path }) {
    const kinds = readKinds(options.for);
    const asked = await ask(options.uri ?? 'qemu:///system');
    const facts = readHostFacts(path(options.root ?? '/'));
    const findings = examineHost(kinds, facts, asked.abilities, asked.trials);
    const possible = kinds.filter((kind) => isPossible(kind, findings));
    const isWell = options.for.length > 0 ? possible.length === kinds.length : possible.length > 0;
    return {
      json: {
        possible,
        libvirt_failure: asked.failure,
        findings: findings.map((finding) => ({ ...finding })),
      },
      text: text(findings, possible, asked),
      exitCode: isWell ? 0 : 1,
    };
  },
});

/** @throws CvmpError USAGE */
function readKinds(given: readonly string[]): readonly GuestKind[] {
  for (const kind of given) {
    if (!guestKinds.some((known) => known === kind)) {
      throw new CvmpError('USAGE', `--for ${kind}: one of ${guestKinds.join(', ')}`);
    }
  }
  return given.length === 0 ? guestKinds : guestKinds.filter((kind) => given.includes(kind));
}

interface Asked {
  readonly abilities: HostAbilities;
  readonly trials: Trials;
  /** Why libvirt does not answer. */
  readonly failure?: string;
}

/** A host without libvirt has other things to be told, too. */
async function ask(uri: string): Promise<Asked> {
  const libvirt = new Virsh({ uri, millisecondsMax: answerMsMax });
  try {
    const version = await libvirt.ask('version');
    const domcapabilities = await libvirt.ask('domcapabilities', '--machine', 'q35');
    const abilities = readAbilities(domcapabilities, version);
    return { abilities, trials: await tryDomains(libvirt, abilities) };
  } catch (error) {
    if (!(error instanceof CvmpError)) throw error;
    return { abilities: unknownAbilities(), trials: unknownTrials(), failure: error.message };
  }
}

function isPossible(kind: GuestKind, findings: readonly Finding[]): boolean {
  return findings.every((finding) => finding.kind !== kind || finding.state === 'yes');
}

function text(
  findings: readonly Finding[],
  possible: readonly GuestKind[],
  { abilities, failure }: Asked,
): string {
  const rows = findings.map(({ kind, check, state, found }) => [
    kind,
    check,
    { yes: 'ok', no: 'MISSING', unknown: 'unknown' }[state],
    found,
  ]);
  const steps = findings.filter(({ next }) => next !== '');
  const kinds = [...new Set(findings.map(({ kind }) => kind))];
  return [
    table(['FOR', 'CHECK', 'STATE', 'FOUND'], rows),
    '',
    failure ?? versionsText(abilities),
    ...kinds.map(
      (kind) => `${kind}: ${possible.includes(kind) ? 'can run here' : 'cannot run here'}`,
    ),
    ...steps.map(({ kind, check, next }) => `next (${kind}, ${check}): ${next}`),
  ].join('\n');
}
