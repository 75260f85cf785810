import type { Terminal } from '#cli/terminal/output.js';

/** A terminal that keeps what was written. */
export interface RecordedTerminal extends Terminal {
  stdout: string;
  stderr: string;
}

/** @param answers to questions; where given, a person is there */
export function recordedTerminal(answers?: readonly string[]): RecordedTerminal {
  const left = [...(answers ?? [])];
  const terminal: RecordedTerminal = {
    stdout: '',
    stderr: '',
    out: (text) => {
      terminal.stdout += text;
    },
    err: (text) => {
      terminal.stderr += text;
    },
    colour: false,
    interactive: answers !== undefined,
    ask: async (question) => {
      terminal.stderr += question;
      return left.shift() ?? '';
    },
  };
  return terminal;
}
