/**
 * A vitest reporter that ends the run with `N passed, N failed, N skipped` alone on a line. What failed to load
 * and what was thrown outside a test count as failures too: silence must never look like success.
 *
 * CHECKS_FAILED adds checks that failed before the tests; FORBID_SKIPS turns skipped tests into failures.
 */
import type { Reporter, SerializedError, TestModule } from "vitest/node";
import { allowedSkips } from "./allowed-skips.ts";

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Names of the skipped tests that count as failed. */
  readonly forbidden: readonly string[];
}

/** The part of vitest's modules that is looked at. */
export type CountedModule = {
  ok(): boolean;
  readonly children: {
    allTests(): Iterable<{ readonly fullName: string; result(): { readonly state: string } }>;
  };
};

export function countTests(
  modules: readonly CountedModule[],
  unhandled: readonly unknown[],
  forbidSkips: boolean,
): Counts {
  let [passed, failed, skipped] = [0, unhandled.length, 0];
  const forbidden: string[] = [];
  for (const module of modules) {
    let failedHere = 0;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === "passed") passed += 1;
      else if (state === "failed") failedHere += 1;
      else if (forbidSkips && !(test.fullName in allowedSkips)) forbidden.push(test.fullName);
      else skipped += 1;
    }
    // A file that could not be loaded, or whose hooks failed, has no failed test of its own.
    failed += failedHere === 0 && !module.ok() ? 1 : failedHere;
  }
  return { passed, failed: failed + forbidden.length, skipped, forbidden };
}

export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const { CHECKS_FAILED = "0", FORBID_SKIPS } = process.env;
    const counts = countTests(modules, unhandled, FORBID_SKIPS === "1");
    const failed = counts.failed + Number(CHECKS_FAILED);
    // Vitest prints its own summary after this hook: ours has to be the last line.
    process.once("exit", () => {
      for (const name of counts.forbidden)
        process.stdout.write(`skipped, which is not allowed here: ${name}\n`);
      if (failed > 0) process.exitCode = 1;
      const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
      process.stdout.write(`\n${counts.passed} passed, ${failed} failed${skipped}\n`);
    });
  }
}
