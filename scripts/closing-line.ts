import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with one plain line: N passed, N failed, N skipped. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const each of module.children.allTests()) count[each.result().state]++;
      if (!module.ok() && [...module.children.allTests('failed')].length === 0) count.failed++;
    }
    process.stdout.write(
      `\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    );
  }
}
