/** Latency and failures by method, set and taken back while the server runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { StatusError, type status } from "./status.ts";

export interface Fault {
  /** Waits before anything happens; ends early with the call. */
  readonly delayMs?: number;
  readonly error?: { readonly code: status; readonly message: string };
  /** `after`: the method does its work and then fails, as when an answer is lost. Default: `before`. */
  readonly when?: "before" | "after";
  /** For how many calls; default: until taken back. */
  readonly times?: number;
  /** For those calls only whose decoded request says yes. */
  readonly matches?: (request: object) => boolean;
}

export interface Faults {
  /** Adds a fault to `method` (or to `*`, all of them) and gives the function that takes it back. */
  inject(method: string, fault: Fault): () => void;
  /** Runs `work` under the first fault that applies. */
  run<T>(call: FaultedCall, work: () => Promise<T>): Promise<T>;
}

export interface FaultedCall {
  readonly method: string;
  readonly request: object;
  readonly signal: AbortSignal;
}

interface Armed {
  readonly method: string;
  readonly fault: Fault;
  left: number;
}

export function createFaults(): Faults {
  const armed = new Set<Armed>();
  const take = ({ method, request }: FaultedCall): Fault | undefined => {
    for (const entry of armed) {
      if (entry.method !== method && entry.method !== "*") continue;
      if (entry.fault.matches && !entry.fault.matches(request)) continue;
      entry.left -= 1;
      if (entry.left <= 0) armed.delete(entry);
      return entry.fault;
    }
    return undefined;
  };
  return {
    inject(method, fault) {
      const entry = { method, fault, left: fault.times ?? Number.POSITIVE_INFINITY };
      armed.add(entry);
      return () => void armed.delete(entry);
    },
    async run(call, work) {
      const fault = take(call);
      if (!fault) return work();
      if (fault.delayMs !== undefined) await sleep(fault.delayMs, undefined, { signal: call.signal });
      const { error, when = "before" } = fault;
      if (error && when === "before") throw new StatusError(error.code, error.message);
      const result = await work();
      if (error) throw new StatusError(error.code, error.message);
      return result;
    },
  };
}
