/** Counts what a guest says of its cases. A guest that stops speaking before its end has failed. */

/** Results over all boots. */
export interface Tally {
  passed: number;
  failed: number;
  /** Cases that could not be run here, each with its reason. */
  notRun: number;
  /** Rules that say nothing about this driver. */
  notApplicable: number;
}

/** Nothing counted yet. */
export function createTally(): Tally {
  return { passed: 0, failed: 0, notRun: 0, notApplicable: 0 };
}

/** Counts one line; true for the last one of a job that came to its end. */
export function count(tally: Tally, line: string): boolean {
  if (line.startsWith("ok ")) tally.passed += 1;
  else if (line.startsWith("not ok ")) tally.failed += 1;
  else if (line.startsWith("not run ")) tally.notRun += 1;
  else if (line.startsWith("not applicable ")) tally.notApplicable += 1;
  return line === "end";
}

/** The closing line, as the other suites have it. */
export function closingLine({ passed, failed, notRun, notApplicable }: Tally): string {
  const rest = [
    notRun > 0 ? `, ${notRun} not run` : "",
    notApplicable > 0 ? `, ${notApplicable} not applicable` : "",
  ];
  return `${passed} passed, ${failed} failed${rest.join("")}`;
}
