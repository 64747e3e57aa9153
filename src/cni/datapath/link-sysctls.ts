/** Parameters of a pod's link on the host, and of IPv6 inside the pod. Those of a link go with it. */
import { isKind, TrivetError } from "../../errors.ts";
import type { NetnsHandle } from "../../host/netns.ts";
import type { Sysctl } from "../../host/sysctl.ts";
import type { CniDeps } from "../deps.ts";

/** How sysctl names write an interface. */
const inName = (link: string): string => link.replaceAll(".", "/");

interface HostLinkOptions {
  readonly name: string;
  readonly ipv6: boolean;
  /** 127.0.0.1 of the host is to reach the pod's host ports. Needs the rules of `guard`, which must be there already. */
  readonly loopback: boolean;
}

/** Of a pod's end on the host, or of a bridge, before it comes up. */
export async function prepareHostLink(
  { sysctl }: Pick<CniDeps, "sysctl">,
  { name, ipv6, loopback }: HostLinkOptions,
): Promise<void> {
  const ofLink = (parameter: string) => `net.ipv6.conf.${inName(name)}.${parameter}`;
  // A pod must not become the host's router by announcing itself (CVE-2020-10749).
  await ifThere(sysctl.write(ofLink("accept_ra"), "0"));
  if (ipv6 && (await requireIpv6(sysctl, ofLink("disable_ipv6"))) !== "0") {
    await sysctl.write(ofLink("disable_ipv6"), "0");
  }
  if (loopback) await sysctl.write(`net.ipv4.conf.${inName(name)}.route_localnet`, "1");
}

/** A pod may have got a namespace in which IPv6 is switched off. */
export async function enableIpv6Inside(
  { sysctl }: Pick<CniDeps, "sysctl">,
  netns: NetnsHandle,
): Promise<void> {
  const inside = sysctl.inside(netns);
  const all = "net.ipv6.conf.all.disable_ipv6";
  for (const name of [all, "net.ipv6.conf.default.disable_ipv6"]) {
    if ((await requireIpv6(inside, name)) === "0") continue;
    // It goes for every interface, and for those to come.
    await inside.write(all, "0");
    return;
  }
}

async function requireIpv6(sysctl: Sysctl, name: string): Promise<string> {
  try {
    return await sysctl.read(name);
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
    throw new TrivetError({
      kind: "precondition",
      op: "sysctl.read",
      subject: name,
      message:
        "the network gives its pods IPv6 addresses, and this kernel has no IPv6 (ipv6.disable=1?): enable it, or take the IPv6 range out of the configuration",
      cause: error,
    });
  }
}

async function ifThere(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isKind(error, "not-found")) throw error;
  }
}
