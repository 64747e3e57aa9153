/** What a client is told when the runtime does not answer: its socket, the reason, and what to look at. */
import { basename } from "node:path";
import { GrpcStatus } from "./message.ts";
import type { OwnStatus } from "./tap-stream.ts";

const runtimes: ReadonlyMap<string, string> = new Map([
  ["containerd.sock", "containerd"],
  ["crio.sock", "cri-o"],
  ["cri-dockerd.sock", "cri-dockerd"],
]);

/** `code` is an errno name. */
export function cannotDial(path: string, code: string): OwnStatus {
  return unavailable(path, `does not answer (${code})`);
}

/** For calls that were open when the runtime closed; `code` is an errno name, where there is one. */
export function connectionLost(path: string, code: string | undefined): OwnStatus {
  return unavailable(path, `closed the connection${code === undefined ? "" : ` (${code})`}`);
}

/** For calls still open when the tap itself ends. */
export const stopping: OwnStatus = {
  status: GrpcStatus.unavailable,
  message: "trivet: the CRI proxy is stopping: call again",
};

function unavailable(path: string, what: string): OwnStatus {
  const runtime = runtimes.get(basename(path)) ?? "the container runtime";
  return {
    status: GrpcStatus.unavailable,
    message: `trivet: the runtime's socket ${path} ${what}: is ${runtime} running?`,
  };
}
