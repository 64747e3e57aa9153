/**
 * The edge of every call: a request id, one log line, one measurement. Only what is named here is logged: a request
 * may carry secrets, and its strings are anybody's.
 */
import { TrivetError } from "../errors.ts";
import type { Clock } from "../host/clock.ts";
import type { UnaryHandler } from "../host/grpc.ts";
import type { Log } from "../observe/log.ts";
import { refusal } from "./refusal.ts";
import { boundedMessage, errorToStatus } from "./status.ts";
import type { VolumeId } from "./volume/id.ts";

/** One call as its handler sees it. */
export interface Call {
  /** Throws `cancelled` when the caller is gone: asked before an effect, never within one. */
  check(): void;
  /** Names the volume in the log line. */
  about(id: VolumeId): void;
}

/** For what the driver does on its own: nobody goes away. */
export const ownCall: Call = { check: () => undefined, about: () => undefined };

/** A method: request as on the wire, response as on the wire, any failure thrown. */
export type Handler<Request> = (request: Request, call: Call) => Promise<object>;

/** One call that has ended, for metrics. */
export interface CallReport {
  /** Such as `Controller.CreateVolume`. */
  readonly method: string;
  /** A gRPC status name, `OK` included. */
  readonly code: string;
  readonly durationMs: number;
}

/** What the edge writes to and measures with. */
export interface EdgeDeps {
  readonly log: Log;
  readonly clock: Clock;
  randomUuid(): string;
  onCall?(call: CallReport): void;
}

/** Asked every few seconds by those who watch over us: worth a line only when it goes wrong. */
const quietMethods = new Set(["Identity.Probe"]);

/** `handler` with everything around it that each call needs. What it throws passes through, for `errorToStatus`. */
export function atEdge<Request>(deps: EdgeDeps, method: string, handler: Handler<Request>): UnaryHandler {
  return async (request, { signal }) => {
    const started = deps.clock.monotonicNs();
    let volumeId: VolumeId | undefined;
    const call: Call = {
      check() {
        if (signal.aborted) throw refusal("cancelled", method, `the caller of ${method} is gone`);
      },
      about(id) {
        volumeId = id;
      },
    };
    const close = (error?: unknown) => {
      const durationMs = Number((deps.clock.monotonicNs() - started) / 1_000n) / 1_000;
      logCall(deps, { method, volumeId, durationMs, error });
      deps.onCall?.({ method, code: error === undefined ? "OK" : errorToStatus(error).code, durationMs });
    };
    try {
      const response = await handler(request as Request, call);
      close();
      return response;
    } catch (error) {
      close(error ?? new Error("nothing was thrown"));
      throw error;
    }
  };
}

interface CallLine {
  readonly method: string;
  readonly volumeId: string | undefined;
  readonly durationMs: number;
  readonly error: unknown;
}

function logCall({ log, randomUuid }: EdgeDeps, { method, volumeId, durationMs, error }: CallLine): void {
  const fields = { method, requestId: randomUuid(), volumeId, ms: durationMs };
  if (error === undefined) {
    if (quietMethods.has(method)) log.debug("call", { ...fields, code: "OK" });
    else log.info("call", { ...fields, code: "OK" });
    return;
  }
  const { code } = errorToStatus(error);
  const isKnown = error instanceof TrivetError && error.kind !== "bug";
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const failed = { ...fields, code, kind: isKnown ? error.kind : "bug", error: boundedMessage(message) };
  if (!isKnown) log.error("call", { ...failed, stack });
  else if (error.kind === "io") log.error("call", failed);
  else log.warn("call", failed);
}
