/** What holds where a configuration says nothing. Alone in a file, since the client loads next to nothing else. */

/** The agent's socket. */
export const defaultSocket = "/run/trivet/cni.sock";

/** Leases and attachments; on tmpfs, since they die with the boot. */
export const defaultStateDir = "/run/trivet/cni";

/** How long each command may take, in milliseconds. A kubelet gives a sandbox minutes, and retries a DEL for ever. */
export const limitsMs = { ADD: 60_000, CHECK: 30_000, DEL: 30_000, GC: 60_000, STATUS: 5_000 } as const;
