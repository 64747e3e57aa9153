/**
 * A vitest reporter that ends the run with `N passed, N failed, N skipped` alone on a line. What failed to load
 * and what was thrown outside a test count as failures too: silence must never look like success.
 */
import type { Reporter, SerializedError, TestModule } from "vitest/node";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export function countTests(modules: readonly TestModule[], unhandled: readonly SerializedError[]): Counts {
  const counts = { passed: 0, failed: unhandled.length, skipped: 0 };
  for (const module of modules) {
    let failedTests = 0;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === "passed") counts.passed += 1;
      else if (state === "failed") failedTests += 1;
      else counts.skipped += 1;
    }
    if (failedTests === 0 && !module.ok()) failedTests = 1;
    counts.failed += failedTests;
  }
  return counts;
}

export default class ClosingLineReporter implements Reporter {
  #counts: Counts = { passed: 0, failed: 0, skipped: 0 };

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#counts = countTests(modules, unhandled);
    // Vitest prints its own summary after this hook: ours has to be the last line.
    process.once("exit", () => {
      const { passed, failed, skipped } = this.#counts;
      process.stdout.write(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}\n`);
    });
  }
}
