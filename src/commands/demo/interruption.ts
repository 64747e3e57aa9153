/**
 * Ctrl-C in the middle of a demo: the step at work ends, then everything is taken down, as after a failure. A second
 * one ends the process at once, and leaves what is there.
 */
import type { StepTiming } from "../../../test/fakes/kubelet/timing.ts";

export interface Interruption {
  /** `onStep` that throws after the first step that ends when an interruption was asked for. */
  guard(onStep: (step: StepTiming) => void): (step: StepTiming) => void;
  /** Leaves signals to themselves again. */
  release(): void;
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

export function watchInterruption(): Interruption {
  let reason: Error | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    reason = new Error(`interrupted by ${signal}`);
    release();
  };
  const release = () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    guard: (onStep) => (step) => {
      // The recorder reports the step a second time, as one that failed by what is thrown here.
      if (step.error === undefined || step.error !== reason?.message) onStep(step);
      if (reason) throw reason;
    },
    release,
  };
}
