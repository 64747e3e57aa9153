/**
 * DEL (SPEC.md): succeeds when anything or everything is gone already, and as often as it is called. Works from the record
 * alone: neither the namespace, nor prevResult, nor the rest of the configuration is looked at. Without a record another IPAM
 * plugin is asked all the same: what it keeps may have outlived a boot.
 */
import { join } from "node:path";
import type { CallContext } from "./context.ts";
import { recordedIpam } from "./ipam/foreign.ts";
import type { ContainerInterface } from "./protocol/environment.ts";
import type { NetworkIdentity } from "./protocol/netconf.ts";
import { clearAttachment } from "./record.ts";
import { networkPaths } from "./state/paths.ts";

/** Gives the addresses that were freed. */
export function del(
  { deps, request }: Pick<CallContext, "deps" | "request">,
  { containerId, ifname }: ContainerInterface,
  { name, stateDir }: NetworkIdentity,
): Promise<string[]> {
  const paths = networkPaths(join(stateDir, deps.bootId), name);
  const key = { network: name, containerId, ifname };
  return clearAttachment(deps, paths, { key, fallback: recordedIpam(request) });
}
