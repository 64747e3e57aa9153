/** The settings of `trivet cri`: the section `cri` of the file. */
import * as v from "valibot";
import { callLogEntries } from "./cri-call-log.ts";
import { listenersSchema } from "./cri-listeners.ts";
import { absolutePath, logLevel, seconds, tcpAddress, text, unixAddress } from "./values.ts";

/** Where the runtime listens unless told otherwise: containerd's own default. */
export const defaultUpstream = "unix:///run/containerd/containerd.sock";
export const defaultListen = "unix:///run/trivet/cri.sock";
// A kubelet that restarts its connections needs a moment; unit files kill after 90 s.
const DEFAULT_DRAIN_SECONDS = 10;
// An event stream, a pull or a stop with a long grace period may go on for long after a reload; each reload keeps one more
// process for it.
const DEFAULT_HAND_OVER_SECONDS = 600;

// What runs the node must start whatever a policy says.
const defaultExemptNamespaces = ["kube-system", "trivet-system"];

const criEntries = v.strictObject({
  listen: v.optional(unixAddress, defaultListen),
  upstream: v.optional(unixAddress, defaultUpstream),
  /** A directory of policy files; without it no call is changed. */
  policyDir: v.optional(absolutePath),
  /** Keeps the last good set of policies for a start with a bad one. Without it, such a start is refused. */
  policyCache: v.optional(absolutePath),
  /** Namespaces whose pods policies leave alone, unless they name them. */
  exemptNamespaces: v.optional(v.array(text), defaultExemptNamespaces),
  /** Whether calls of methods that our CRI does not know pass. */
  unknownMethods: v.optional(v.picklist(["allow", "deny"], "must be allow or deny"), "allow"),
  ...callLogEntries,
  metricsAddress: v.optional(tcpAddress),
  drainSeconds: v.optional(seconds, DEFAULT_DRAIN_SECONDS),
  /** How long calls that were open at a reload may go on in the process that served before. */
  handOverSeconds: v.optional(seconds, DEFAULT_HAND_OVER_SECONDS),
  /** More sockets, each for some methods only. */
  listeners: v.optional(listenersSchema, []),
});

export const criSchema = v.pipe(
  criEntries,
  v.check(
    ({ listen, upstream, listeners }) => ![listen, ...listeners.map((one) => one.listen)].includes(upstream),
    "no socket of the proxy may have the path of cri.upstream, which is the runtime's: it would call itself",
  ),
  v.check(
    ({ listen, listeners }) => listeners.every((listener) => listener.listen !== listen),
    "no listener may have the path of cri.listen, which serves all methods",
  ),
);

/** The whole file as `trivet cri` reads it: the other sections are the business of the other verbs. */
export const criFileSchema = v.strictObject({
  logLevel: v.optional(logLevel, "info"),
  cri: v.optional(criSchema, {}),
  node: v.optional(v.unknown()),
});

export type CriConfig = v.InferOutput<typeof criSchema>;
export type { CriListenerConfig } from "./cri-listeners.ts";
