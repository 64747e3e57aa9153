/** The kubelet's CRI client with any `:authority`, over hand-framed HTTP/2: unary methods only. */
import { type ServiceDefinition, status } from "@grpc/grpc-js";
import { serviceOf } from "../containerd/apis.ts";
import { StatusError } from "../containerd/status.ts";
import type { CriClient } from "./cri-client.ts";
import { deadlineMs, RUNTIME_REQUEST_TIMEOUT_MS } from "./deadlines.ts";
import type { Header } from "./raw-hpack.ts";
import { connectRaw, type RawResponse } from "./raw-http2.ts";

export interface RawCriOptions {
  readonly path: string;
  /** Sent as it is. Default: the socket's path, as kubelets up to 1.28 send it; null sends no `:authority` at all. */
  readonly authority?: string | null;
  readonly runtimeRequestTimeoutMs?: number;
  readonly headerTableSize?: number;
}

const GRPC_PREFIX_BYTES = 5;
const MAX_TIMEOUT_DIGITS = 99_999_999;

/** A time-out in the units that grpc-go picks: the finest that needs no more than eight digits. */
export function encodeTimeout(timeoutMs: number): string {
  const units: readonly (readonly [string, number])[] = [
    ["n", 1e6],
    ["u", 1e3],
    ["m", 1],
    ["S", 1e-3],
    ["M", 1e-3 / 60],
  ];
  for (const [unit, perMs] of units) {
    const value = Math.ceil(timeoutMs * perMs);
    if (value <= MAX_TIMEOUT_DIGITS) return `${value}${unit}`;
  }
  return `${Math.ceil(timeoutMs / 3_600_000)}H`;
}

function frameMessage(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(GRPC_PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The answer's message, or its status as the error that it stands for. */
function unwrap({ headers, body, reset }: RawResponse): Buffer {
  const last = (name: string) => headers.findLast(([key]) => key === name)?.[1];
  if (reset !== undefined) {
    throw new StatusError(status.INTERNAL, `the stream was reset with HTTP/2 error code ${reset}`);
  }
  const code = Number(last("grpc-status") ?? status.UNKNOWN);
  if (code !== status.OK) throw new StatusError(code, decodeURIComponent(last("grpc-message") ?? ""));
  return body.subarray(GRPC_PREFIX_BYTES);
}

/** Connects at once. Its `call` rejects with StatusError, whose `code` is the gRPC status. */
export async function connectRawCri(options: RawCriOptions): Promise<CriClient> {
  const { path, authority = path, runtimeRequestTimeoutMs = RUNTIME_REQUEST_TIMEOUT_MS } = options;
  const services = ["RuntimeService", "ImageService"].map((name) => serviceOf("runtime", name).service);
  const methods: ServiceDefinition = Object.assign({}, ...services);
  const connection = await connectRaw(options);
  return {
    path,
    async call(method, request = {}, settings = {}) {
      const stub = methods[method];
      if (!stub) throw new Error(`the API has no method ${method}`);
      const timeoutMs = settings.timeoutMs ?? deadlineMs(method, request, runtimeRequestTimeoutMs);
      const headers: Header[] = [
        [":method", "POST"],
        [":scheme", "http"],
        [":path", stub.path],
        ...(authority === null ? [] : [[":authority", authority] as const]),
        ["content-type", "application/grpc"],
        ["user-agent", "grpc-go/1.53.0"],
        ["te", "trailers"],
        ...(Number.isFinite(timeoutMs) ? [["grpc-timeout", encodeTimeout(timeoutMs)] as const] : []),
        ...Object.entries(settings.metadata ?? {}),
      ];
      const body = frameMessage(stub.requestSerialize(request));
      const answer = await connection.request({ headers, body, ...pick(settings.signal) });
      return stub.responseDeserialize(unwrap(answer)) as never;
    },
    stream: () => {
      throw new Error("the raw client calls unary methods only");
    },
    close: connection.close,
  };
}

function pick(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}
