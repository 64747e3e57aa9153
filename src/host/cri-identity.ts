/**
 * What a CRI socket (runtime/v1) says of the runtime behind it: what a kubelet asks before it starts. For a few questions by hand, each
 * with a connection that lives until it is closed.
 */
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import { TrivetError } from "../errors.ts";
import { loadServices } from "./proto.ts";

export interface CriIdentity {
  readonly runtimeName: string;
  readonly runtimeVersion: string;
  readonly apiVersion: string;
  /** By type, such as `RuntimeReady`. */
  readonly conditions: Readonly<Record<string, boolean>>;
  /** The mount points of the images' file systems. */
  readonly imageFileSystems: readonly string[];
  /** Of each condition that is not met what the runtime says about it, such as `NetworkReady: cni plugin not initialized`. */
  readonly complaints?: readonly string[];
  /** What it tells of itself beyond the API, as JSON texts by name; empty unless it was asked for. */
  readonly info?: Readonly<Record<string, string>>;
}

/** An open connection. */
export interface CriConnection {
  readonly identity: CriIdentity;
  close(): void;
}

/**
 * As an effect: asks Version, Status and ImageFsInfo. Rejects with kind `unavailable`, naming the call that failed. With `verbose` the
 * runtime tells its configuration too, in which there may be secrets.
 */
export type AskCri = (path: string, options?: { readonly verbose?: boolean }) => Promise<CriConnection>;

const TIMEOUT_MS = 10_000;

type Answer = Readonly<Record<string, unknown>>;
type Call = (
  request: object,
  options: object,
  done: (error: ServiceError | null, answer?: Answer) => void,
) => void;
type Client = { close(): void } & Readonly<Record<string, Call>>;
type Constructor = new (address: string, channel: object, options: object) => Client;

export const askCri: AskCri = async (path, { verbose = false } = {}) => {
  const services = loadServices("runtime");
  const clients = ["RuntimeService", "ImageService"].map((name) => {
    const service = services[name] as unknown as Constructor;
    return new service(`unix://${path}`, credentials.createInsecure(), {
      "grpc.default_authority": "localhost",
      "grpc.use_local_subchannel_pool": 1,
    });
  });
  const close = () => {
    for (const client of clients) client.close();
  };
  try {
    const [runtime, image] = clients;
    const version = await ask(runtime, path, "Version");
    const answer = await ask(runtime, path, "Status", { verbose });
    const conditions = (answer.status as { conditions?: Answer[] } | null)?.conditions ?? [];
    const images = (await ask(image, path, "ImageFsInfo")).image_filesystems as Answer[] | undefined;
    const mountpoint = (usage: Answer) => (usage.fs_id as { mountpoint?: string } | null)?.mountpoint ?? "";
    const identity: CriIdentity = {
      runtimeName: String(version.runtime_name),
      runtimeVersion: String(version.runtime_version),
      apiVersion: String(version.runtime_api_version),
      conditions: Object.fromEntries(
        conditions.map(({ type, status: holds }) => [String(type), holds === true]),
      ),
      complaints: conditions.flatMap(({ type, status: holds, reason, message }) =>
        holds === true ? [] : [`${type}: ${message || reason || "no reason is told"}`],
      ),
      info: (answer.info ?? {}) as Record<string, string>,
      imageFileSystems: (images ?? []).map(mountpoint).sort(),
    };
    return { identity, close };
  } catch (error) {
    close();
    throw error;
  }
};

function ask(
  client: Client | undefined,
  path: string,
  method: string,
  request: object = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const done = (error: ServiceError | null, answer?: Answer) => {
      if (answer) return resolve(answer);
      // What the library adds for its own developers.
      const details = error?.details
        .replace(/^No connection established\. Last error: (Error: )?/, "")
        .replace(/\.?\s*Resolution note:.*$/s, "");
      const why = error ? `${status[error.code] ?? error.code}: ${details}` : "an empty answer";
      const message = `${path} does not answer ${method}: ${why}`;
      reject(
        new TrivetError({
          kind: "unavailable",
          op: "cri.ask",
          subject: path,
          message,
          cause: error ?? undefined,
        }),
      );
    };
    client?.[method]?.call(client, request, { deadline: Date.now() + TIMEOUT_MS }, done);
  });
}
