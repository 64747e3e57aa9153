/** Runs one fuzz target for a number of inputs; each can be made again from the seed and its number. */
import { createRandom } from "../../src/cri/tap/testing/random.ts";
import type { FuzzTarget } from "./target.ts";

export interface FuzzRun {
  readonly target: FuzzTarget;
  readonly inputs: number;
  readonly seed: number;
  /** The number of the first input. */
  readonly from?: number;
  onProgress?(done: number): void;
}

/** An input that showed something wrong. */
export interface Finding {
  readonly input: number;
  readonly error: unknown;
}

export interface FuzzResult {
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  readonly findings: readonly Finding[];
}

/** A run is given up after so many: they are most often one and the same. */
const MAX_FINDINGS = 10;
const PROGRESS_EVERY = 20_000;
/** Inputs are numbered from here for each seed: two runs with other seeds share none. */
const SEED_STRIDE = 1_000_000_007;

/** Never throws for what a target finds. */
export async function runTarget({
  target,
  inputs,
  seed,
  from = 0,
  onProgress,
}: FuzzRun): Promise<FuzzResult> {
  const findings: Finding[] = [];
  const count = { accepted: 0, refused: 0 };
  let done = 0;
  while (done < inputs && findings.length < MAX_FINDINGS) {
    const input = from + done;
    try {
      const verdict = target.attempt(createRandom(seed * SEED_STRIDE + input));
      // No await where there is nothing to wait for: it would cost as much as the input.
      count[verdict instanceof Promise ? await verdict : verdict]++;
    } catch (error) {
      findings.push({ input, error });
    }
    done++;
    if (done % PROGRESS_EVERY === 0) onProgress?.(done);
  }
  return { inputs: done, ...count, findings };
}
