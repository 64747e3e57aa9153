/**
 * DEL (SPEC.md): succeeds when anything or everything is gone already, and as often as it is called. Works from the record
 * alone: neither the namespace, nor prevResult, nor the rest of the configuration is looked at. Without a record another IPAM
 * plugin is asked all the same: what it keeps may have outlived a boot.
 */
import { join } from "node:path";
import { asTrivetError } from "../errors.ts";
import type { CallContext } from "./context.ts";
import { wasNotFound } from "./ipam/delegate.ts";
import { recordedIpam } from "./ipam/foreign.ts";
import type { ContainerInterface } from "./protocol/environment.ts";
import type { NetworkIdentity } from "./protocol/netconf.ts";
import { clearAttachment } from "./record.ts";
import { networkPaths } from "./state/paths.ts";

/**
 * Gives the addresses that were freed. Where the IPAM plugin that leased them is not installed any more the record stays, and the
 * sweep asks again: for want of a program no pod hangs in Terminating, and no address is forgotten.
 */
export async function del(
  { deps, request, log }: Pick<CallContext, "deps" | "request" | "log">,
  { containerId, ifname }: ContainerInterface,
  { name, stateDir }: NetworkIdentity,
): Promise<string[]> {
  const paths = networkPaths(join(stateDir, deps.bootId), name);
  const key = { network: name, containerId, ifname };
  try {
    return await clearAttachment(deps, paths, { key, fallback: recordedIpam(request) });
  } catch (error) {
    if (!wasNotFound(error)) throw error;
    const { message } = asTrivetError(error, "del", containerId);
    log.warn("addresses stay leased until their IPAM plugin is there again", { ...key, error: message });
    return [];
  }
}
