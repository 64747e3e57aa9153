/**
 * The order of a hand-over, seen from the process that serves: a successor is started beside it, gets ready, takes over,
 * and only then does this one stop accepting. Whatever fails before that leaves this one serving as before. Starts no
 * process and opens no socket: effects and time are given, so that a test can let every step fail.
 */

/** A successor that was started. Its promises reject with why it will not take over: it ended, said so, or was too slow. */
export interface Successor {
  /** Resolves when it has read all that it needs and holds the listening descriptors, but does not accept yet. */
  prepared(): Promise<SuccessorReport>;
  /** Tells it to serve. Resolves when it accepts, serves what else there is to serve, and the service manager knows it. */
  takeOver(): Promise<void>;
  /** Ends it at once; resolves when it is gone. */
  kill(): Promise<void>;
}

/** What a successor says of itself when it is prepared. */
export interface SuccessorReport {
  readonly pid: number;
  readonly version: string;
  /** The listeners that it goes on with, by name: the others end with this process. */
  readonly kept: readonly string[];
}

/** What is done, by whoever knows how. */
export interface HandOverEffects {
  /** Says that a reload is going on. Must not fail. */
  announce(): Promise<void>;
  start(): Promise<Successor>;
  /** Frees what only one process can have, such as the port of the metrics. */
  yieldAddresses(): Promise<void>;
  /** Takes back what was freed, and tells the service manager that this process serves. Must not fail. */
  resume(reason: string): Promise<void>;
  /** Stops accepting on the listeners that the successor has, withdraws the others, and lets calls end. Does not wait. */
  leave(report: SuccessorReport): void;
}

/** How a reload ended. */
export type HandOverResult =
  | { readonly outcome: "handed-over"; readonly successor: SuccessorReport }
  | { readonly outcome: "kept"; readonly reason: string };

/** Runs one hand-over to its end; it never throws. */
export async function handOver(effects: HandOverEffects): Promise<HandOverResult> {
  await effects.announce();
  let successor: Successor | undefined;
  try {
    successor = await effects.start();
    const report = await successor.prepared();
    await effects.yieldAddresses();
    await successor.takeOver();
    effects.leave(report);
    return { outcome: "handed-over", successor: report };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // Killed before anything is taken back: two that serve would disagree about the addresses.
    await successor?.kill();
    await effects.resume(reason);
    return { outcome: "kept", reason };
  }
}
