/** The settings of `trivet cri`: the section `cri` of the file. */
import * as v from "valibot";
import { absolutePath, logLevel, seconds, tcpAddress, text, unixAddress } from "./values.ts";

/** Where the runtime listens unless told otherwise: containerd's own default. */
export const defaultUpstream = "unix:///run/containerd/containerd.sock";
export const defaultListen = "unix:///run/trivet/cri.sock";
// A kubelet that restarts its connections needs a moment; unit files kill after 90 s.
const DEFAULT_DRAIN_SECONDS = 10;

export const criSchema = v.strictObject({
  listen: v.optional(unixAddress, defaultListen),
  upstream: v.optional(unixAddress, defaultUpstream),
  /** A directory of policy files; without it no call is changed. */
  policyDir: v.optional(absolutePath),
  /** A file, or `-` for stdout. Without it the calls go to the log, at a level each. */
  callLog: v.optional(
    v.pipe(
      text,
      v.check((value) => value === "-" || value.startsWith("/"), "must be an absolute path, or - for stdout"),
    ),
  ),
  metricsAddress: v.optional(tcpAddress),
  drainSeconds: v.optional(seconds, DEFAULT_DRAIN_SECONDS),
});

/** The whole file as `trivet cri` reads it: the other sections are the business of the other verbs. */
export const criFileSchema = v.strictObject({
  logLevel: v.optional(logLevel, "info"),
  cri: v.optional(criSchema, {}),
  node: v.optional(v.unknown()),
});

export type CriConfig = v.InferOutput<typeof criSchema>;
