/**
 * Tracked connections of host ports that must not outlive a change: of UDP and SCTP, whose peers go on sending from the same port,
 * an old entry keeps the traffic away from a new pod, or sends it to a dead one. TCP begins anew by itself.
 */
import { TrivetError } from "../../errors.ts";
import type { FlowFilter } from "../../host/conntrack.ts";
import type { HostPort } from "../../host/nft.ts";
import type { CniDeps } from "../deps.ts";

const isLasting = ({ protocol }: HostPort): boolean => protocol !== "tcp";

/** What went to the ports before the pod had them. */
export function flowsBefore(ports: readonly HostPort[]): FlowFilter[] {
  return ports.filter(isLasting).map(({ family, protocol, hostPort, hostIp }) => ({
    ...{ family, protocol, destinationPort: hostPort },
    ...(hostIp !== undefined && { destination: hostIp }),
  }));
}

/** What goes to the pod through the ports. */
export function flowsTo(ports: readonly HostPort[]): FlowFilter[] {
  return ports.filter(isLasting).map(({ family, protocol, hostPort, podAddress }) => ({
    ...{ family, protocol, destinationPort: hostPort, answeredBy: podAddress },
  }));
}

/** Gives the failure instead of throwing it: a pod is worth more than an entry, which the kernel forgets in minutes by itself. */
export async function forgetFlows(
  { conntrack }: Pick<CniDeps, "conntrack">,
  flows: readonly FlowFilter[],
): Promise<TrivetError | undefined> {
  if (flows.length === 0) return undefined;
  try {
    await conntrack.forget(flows);
    return undefined;
  } catch (error) {
    if (error instanceof TrivetError) return error;
    throw error;
  }
}
