/** The time of each step of a pod's way, in the order in which the steps ended. */

export interface StepTiming {
  /** What was called, such as `NodePublishVolume` or `CreateContainer`. */
  readonly step: string;
  /** Which object: a volume, a container; empty for the sandbox. */
  readonly subject: string;
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** The failure's text; absent where the step succeeded. */
  readonly error?: string;
}

export interface StepRecorder {
  readonly steps: readonly StepTiming[];
  run<T>(step: string, subject: string, work: () => Promise<T>): Promise<T>;
}

/** Records each step and tells `onStep` about it as it ends, failed ones too. */
export function createStepRecorder(onStep: (step: StepTiming) => void = () => undefined): StepRecorder {
  const steps: StepTiming[] = [];
  return {
    steps,
    async run(step, subject, work) {
      const startedAtMs = Date.now();
      const start = performance.now();
      const record = (error?: string) => {
        const durationMs = performance.now() - start;
        const timing = { step, subject, startedAtMs, durationMs, ...(error !== undefined && { error }) };
        steps.push(timing);
        onStep(timing);
      };
      try {
        const result = await work();
        record();
        return result;
      } catch (error) {
        record(error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
  };
}
