/** One gRPC client over a unix socket, by method name: what the CRI, CSI and registration clients have in common. */
import {
  type CallOptions,
  type ChannelOptions,
  Client,
  credentials,
  Metadata,
  type ServiceClientConstructor,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";

/** Which `:authority` a client sends; the forms that kubelets have had over the years. */
export type Authority =
  /** kubelet 1.31 and newer, and every CSI client from 1.26 on. */
  | "localhost"
  /** kubelet 1.29 and 1.30: the socket's path, percent-encoded. */
  | "encoded-path";

export interface ConnectOptions {
  readonly path: string;
  readonly authority?: Authority;
  /** The kubelet receives at most 16 MiB from a runtime. */
  readonly maxReceiveBytes?: number;
}

export interface CallSettings {
  /** Milliseconds from now; Infinity for none. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface GrpcClient {
  /** Rejects with grpc-js's ServiceError, whose `code` and `details` are the status. */
  unary<Response extends object>(method: string, request: object, settings: CallSettings): Promise<Response>;
  /** The stream of a server-streaming method; stopping the iteration cancels the call. */
  stream<Response extends object>(
    method: string,
    request: object,
    settings: CallSettings,
  ): AsyncIterable<Response>;
  /** Ends the connection. */
  close(): void;
}

/** The methods of several services of one API under one connection; their names do not overlap. */
export function connectGrpc(
  services: readonly ServiceClientConstructor[],
  { path, authority = "localhost", maxReceiveBytes = -1 }: ConnectOptions,
): GrpcClient {
  const methods: ServiceDefinition = Object.assign({}, ...services.map(({ service }) => service));
  const options: ChannelOptions = {
    "grpc.default_authority": authority === "localhost" ? "localhost" : encodeURIComponent(path),
    "grpc.max_receive_message_length": maxReceiveBytes,
    "grpc.max_send_message_length": -1,
    // A connection of our own, not one that another client in this process has open already.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
  };
  const client = new Client(`unix:${path}`, credentials.createInsecure(), options);
  const stub = (method: string) => {
    const found = methods[method];
    if (!found) throw new Error(`the API has no method ${method}`);
    return found;
  };
  return {
    unary: (method, request, settings) =>
      new Promise((resolve, reject) => {
        const { path: full, requestSerialize, responseDeserialize } = stub(method);
        const call = client.makeUnaryRequest(
          full,
          requestSerialize,
          responseDeserialize,
          request,
          toMetadata(settings),
          toOptions(settings),
          (error: ServiceError | null, response?: object) =>
            error ? reject(error) : resolve(response as never),
        );
        cancelWith(settings.signal, () => call.cancel());
      }),
    async *stream(method, request, settings) {
      const { path: full, requestSerialize, responseDeserialize } = stub(method);
      const call = client.makeServerStreamRequest(
        full,
        requestSerialize,
        responseDeserialize,
        request,
        toMetadata(settings),
        toOptions(settings),
      );
      cancelWith(settings.signal, () => call.cancel());
      try {
        for await (const message of call) yield message as never;
      } finally {
        call.cancel();
      }
    },
    close: () => client.close(),
  };
}

function toMetadata({ metadata = {} }: CallSettings): Metadata {
  const result = new Metadata();
  for (const [key, value] of Object.entries(metadata)) result.set(key, value);
  return result;
}

function toOptions({ timeoutMs }: CallSettings): CallOptions {
  return Number.isFinite(timeoutMs) ? { deadline: Date.now() + timeoutMs } : {};
}

function cancelWith(signal: AbortSignal | undefined, cancel: () => void): void {
  if (signal?.aborted) cancel();
  else signal?.addEventListener("abort", cancel, { once: true });
}
