/** The Identity service: who this is, and whether it is ready. */
import type { Handler } from "./call.ts";
import { driverName } from "./names.ts";

/** What the service says of this build and this moment. */
export interface IdentityOptions {
  readonly driverVersion: string;
  /** Whether the scan at the start is over. */
  isReady(): boolean;
}

/** The handlers of the service by method. */
export function createIdentity({ driverVersion, isReady }: IdentityOptions) {
  return {
    GetPluginInfo: async () => ({ name: driverName, vendor_version: driverVersion }),
    GetPluginCapabilities: async () => ({
      capabilities: [
        { service: { type: "CONTROLLER_SERVICE" } },
        { service: { type: "VOLUME_ACCESSIBILITY_CONSTRAINTS" } },
        // Done by the node alone: one external-resizer serves all nodes, and only updates the claim.
        { volume_expansion: { type: "ONLINE" } },
      ],
    }),
    // Not ready is an answer, not an error (specification, "Probe"); an unavailable pool does not make us unready:
    // a restart would not bring its disk back.
    Probe: async () => ({ ready: { value: isReady() } }),
  } satisfies Record<string, Handler<never>>;
}
