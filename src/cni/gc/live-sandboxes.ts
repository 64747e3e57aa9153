/** What the container runtime says of its sandboxes, as an effect: one more witness for a pod, never one against it. */

/** Asks the runtime's CRI socket. */
export interface LiveSandboxes {
  /** Ids of the sandboxes that are ready. Rejects when the runtime does not answer: then nothing is known. */
  list(signal?: AbortSignal): Promise<ReadonlySet<string>>;
}
