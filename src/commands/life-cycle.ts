/**
 * The life of a daemon: the first SIGTERM or SIGINT drains and ends with code 0 within a bound, a second one ends
 * the process at once.
 */
import type { Log } from "../observe/log.ts";

export interface LifeCycle {
  readonly log: Log;
  /** How long `stop` may take; then the process ends all the same. */
  readonly timeoutMs: number;
  stop(): Promise<void>;
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
const SECOND_SIGNAL_EXIT_CODE = 130;

/** Installs the handlers. The process ends by `process.exit`, so that nothing left open can hold it. */
export function endOnSignals({ log, timeoutMs, stop }: LifeCycle): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) process.exit(SECOND_SIGNAL_EXIT_CODE);
    stopping = true;
    log.info("stopping", { signal });
    const timer = setTimeout(() => {
      log.warn("still busy at the end of the time for stopping", { timeoutMs });
      process.exit(0);
    }, timeoutMs);
    stop().then(
      () => {
        clearTimeout(timer);
        log.info("stopped");
        process.exit(0);
      },
      (error: unknown) => {
        log.error("could not stop in order", {
          error: error instanceof Error ? error.message : String(error),
        });
        process.exit(1);
      },
    );
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
}
