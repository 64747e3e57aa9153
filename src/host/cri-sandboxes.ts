/**
 * The sandboxes of a container runtime, over its CRI socket (runtime/v1). One question a minute at most: the API is loaded
 * with the first one, and each question has a connection of its own, so that a runtime may restart in between.
 */
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { TrivetError } from "../errors.ts";
import { loadServices } from "./proto.ts";

/** Asks for the sandboxes that are ready. */
export interface SandboxLister {
  /** Their ids. Rejects with kind `unavailable` where the runtime does not answer in time. */
  list(signal?: AbortSignal): Promise<ReadonlySet<string>>;
}

const TIMEOUT_MS = 10_000;
/** A sandbox's entry is below 8 KiB, and a node has some hundred. */
const MAX_ANSWER_BYTES = 64 << 20;

interface Answer {
  readonly items: readonly { readonly id: string; readonly state: string }[];
}

interface RuntimeClient {
  ListPodSandbox(
    request: object,
    options: { readonly deadline: number },
    done: (error: ServiceError | null, answer?: Answer) => void,
  ): { cancel(): void };
  close(): void;
}

type ClientConstructor = new (address: string, channel: object, options: object) => RuntimeClient;

/** `path` is the socket's, such as `/run/containerd/containerd.sock`. Has no effect by itself. */
export function createSandboxLister(path: string): SandboxLister {
  let loaded: ClientConstructor | undefined;
  return {
    async list(signal) {
      signal?.throwIfAborted();
      loaded ??= loadServices("runtime").RuntimeService as unknown as ClientConstructor;
      const client = new loaded(`unix://${path}`, credentials.createInsecure(), {
        "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
        "grpc.default_authority": "localhost",
      });
      try {
        return await ask(client, path, signal);
      } finally {
        client.close();
      }
    },
  };
}

function ask(client: RuntimeClient, path: string, signal?: AbortSignal): Promise<ReadonlySet<string>> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + TIMEOUT_MS;
    // All states are asked for: a filter that a runtime does not know would hide living ones.
    const call = client.ListPodSandbox({}, { deadline }, (error, answer) => {
      signal?.removeEventListener("abort", cancel);
      if (error || !answer) return reject(failure(error, path));
      const ready = answer.items.filter(({ state }) => state === "SANDBOX_READY");
      resolve(new Set(ready.map(({ id }) => id)));
    });
    const cancel = () => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}

function failure(error: ServiceError | null, path: string): TrivetError {
  const why = error ? `${status[error.code] ?? error.code}: ${error.details}` : "an empty answer";
  return new TrivetError({
    kind: error?.code === status.CANCELLED ? "cancelled" : "unavailable",
    op: "cri.sandboxes",
    subject: path,
    message: `the container runtime at ${path} does not list its sandboxes: ${why}`,
    cause: error ?? undefined,
  });
}
