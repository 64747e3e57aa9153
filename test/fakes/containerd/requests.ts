/** Every call that arrived, as bytes and decoded, so that a test can say exactly what the other side sent. */
import type { Metadata } from "@grpc/grpc-js";

export interface RecordedCall {
  readonly service: string;
  readonly method: string;
  /** The request message as it came, without the gRPC frame. */
  readonly raw: Buffer;
  readonly request: object;
  readonly metadata: Readonly<Record<string, readonly string[]>>;
  /** The `:authority` of the call. */
  readonly authority: string;
  /** Milliseconds that the client gave the call, counted at its arrival; Infinity without a deadline. */
  readonly deadlineMs: number;
  /** The status code that was answered; undefined while the call runs. */
  code: number | undefined;
  /** The client cancelled it, or its deadline passed here. */
  cancelled: boolean;
}

export interface RecordedCalls {
  readonly all: readonly RecordedCall[];
  of(method: string): RecordedCall[];
  /** The newest call of `method`; throws if there was none. */
  last(method: string): RecordedCall;
  clear(): void;
}

export interface Recorder extends RecordedCalls {
  add(call: RecordedCall): void;
}

/** Keeps the newest `limit` calls, so that a load test does not keep them all in memory. */
export function createRecorder(limit: number): Recorder {
  let calls: RecordedCall[] = [];
  return {
    get all() {
      return calls;
    },
    of: (method) => calls.filter((call) => call.method === method),
    last(method) {
      const call = calls.findLast((candidate) => candidate.method === method);
      if (!call) throw new Error(`the fake containerd has seen no ${method}`);
      return call;
    },
    clear() {
      calls = [];
    },
    add(call) {
      calls.push(call);
      // In steps, since dropping the first of many for each new one would cost a copy a call.
      if (calls.length > limit * 2) calls = calls.slice(-limit);
    },
  };
}

/** Metadata as text; binary values in base64. */
export function metadataToRecord(metadata: Metadata): Record<string, readonly string[]> {
  return Object.fromEntries(
    Object.keys(metadata.getMap()).map((key) => [
      key,
      metadata
        .get(key)
        .map((entry) => (typeof entry === "string" ? entry : Buffer.from(entry).toString("base64"))),
    ]),
  );
}
