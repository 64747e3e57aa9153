/**
 * What must hold before anything is changed: the kubelet is well, the runtime and the proxy answer what a kubelet asks at its start, and
 * the proxy leads to the very runtime that the kubelet has now. Changes nothing.
 */
import { TrivetError } from "../../errors.ts";
import type { CriConnection, CriIdentity } from "../../host/cri-identity.ts";
import type { KubeletDeps } from "./deps.ts";
import { healthOf } from "./watch.ts";

export interface Preflight {
  /** Socket paths. */
  readonly proxy: string;
  readonly runtime: string;
  readonly healthUrl: string;
}

type PreflightDeps = Pick<KubeletDeps, "askCri" | "sockets" | "listProcesses" | "getStatus">;

/** What is behind the proxy. Throws kind `precondition`, with what to do. */
export async function checkBefore(
  deps: PreflightDeps,
  { proxy, runtime, healthUrl }: Preflight,
): Promise<CriIdentity> {
  const health = await healthOf(deps, healthUrl);
  if (health !== undefined) {
    throw refused(
      "kubelet",
      `the kubelet is not healthy as it is: ${health}; nothing could be told from it afterwards`,
    );
  }
  const direct = await ask(deps, runtime, "that is the runtime that the kubelet has now");
  try {
    const start = `start it with: trivet cri --listen unix://${proxy} --upstream unix://${runtime}`;
    const through = await ask(
      deps,
      proxy,
      `the proxy must serve there and reach the runtime first: ${start}`,
    );
    try {
      const difference = differenceOf(direct.identity, through.identity);
      if (difference)
        throw refused(proxy, `the proxy at ${proxy} leads to another runtime: ${difference}; ${start}`);
      await checkUpstream(deps, { proxy, runtime });
      return through.identity;
    } finally {
      through.close();
    }
  } finally {
    direct.close();
  }
}

async function ask({ askCri }: PreflightDeps, path: string, remedy: string): Promise<CriConnection> {
  try {
    return await askCri(path);
  } catch (error) {
    throw refused(path, `${(error as Error).message}; ${remedy}`, error);
  }
}

function differenceOf(direct: CriIdentity, through: CriIdentity): string | undefined {
  for (const name of [
    "runtimeName",
    "runtimeVersion",
    "apiVersion",
    "conditions",
    "imageFileSystems",
  ] as const) {
    const [a, b] = [JSON.stringify(direct[name]), JSON.stringify(through[name])];
    if (a !== b) return `${name} is ${b} through it, and ${a} without`;
  }
  return undefined;
}

/**
 * While a connection through the proxy is open it has one to its runtime. Who is at the other end is asked of the kernel: flags and
 * files say what was meant, and a second containerd gives the same answers as the first.
 */
async function checkUpstream(
  deps: PreflightDeps,
  { proxy, runtime }: { readonly proxy: string; readonly runtime: string },
): Promise<void> {
  const [ours, wanted] = await Promise.all([deps.sockets.nameAt(proxy), deps.sockets.nameAt(runtime)]);
  if (ours === wanted)
    throw refused(proxy, `${proxy} and ${runtime} are one socket: the proxy would call itself`);
  const ends = await endsOfProxy(deps, ours);
  if (!ends) {
    throw refused(
      proxy,
      `the process that serves ${proxy} cannot be seen: run this on its host, with all namespaces`,
    );
  }
  const upstreams = ends.map(({ peer }) => peer).filter((name) => name !== "");
  if (upstreams.includes(wanted)) return;
  const found = [...new Set(upstreams)].join(", ") || "nothing";
  const loop = upstreams.includes(ours) ? ", which is itself" : "";
  throw refused(
    proxy,
    `the proxy at ${proxy} leads to ${found}${loop}, but the kubelet's runtime is at ${runtime}: start it with --upstream unix://${runtime}`,
  );
}

/** The connections of the process that has accepted one at this name; its command line has the verb in it. */
async function endsOfProxy({ listProcesses, sockets }: PreflightDeps, name: string) {
  for (const { pid, argv } of await listProcesses()) {
    if (!argv.includes("cri")) continue;
    const ends = await sockets.of(pid).catch(() => []);
    if (ends.some(({ own }) => own === name)) return ends;
  }
  return undefined;
}

function refused(subject: string, message: string, cause?: unknown): TrivetError {
  return new TrivetError({ kind: "precondition", op: "kubelet.preflight", subject, message, cause });
}
