/** The host must forward, or no pod reaches another. Switched on once and never off: others may rely on it too. */
import { asTrivetError, isKind, TrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";

const parameters = { 4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding" } as const;
/** Routes that the kernel learned from a router's announcement (rtnetlink(7), RTPROT_RA). */
const ROUTES_BY_ANNOUNCEMENT = 9;

type Deps = Pick<CniDeps, "sysctl" | "netlink">;

async function switchOn({ sysctl }: Deps, family: 4 | 6): Promise<void> {
  const name = parameters[family];
  try {
    await sysctl.write(name, "1");
  } catch (error) {
    const { kind, op, message } = asTrivetError(error, "sysctl.write", name);
    throw new TrivetError({
      kind,
      op,
      subject: name,
      message: `IPv${family} forwarding is off and cannot be switched on from here (${message}): run "sysctl -w ${name}=1" on the host`,
      cause: error,
    });
  }
}

/** Looks at every ADD: one read for each family, and a node whose forwarding was switched off heals by itself. */
export async function ensureForwarding(deps: Deps, families: readonly (4 | 6)[], log: Log): Promise<void> {
  for (const family of new Set(families)) {
    if ((await readForwarding(deps, family)) !== "0") continue;
    if (family === 6) await keepAnnouncedRoutes(deps, log);
    await switchOn(deps, family);
    log.info(`switched IPv${family} forwarding on, which was off`, { sysctl: parameters[family] });
  }
}

async function readForwarding({ sysctl }: Deps, family: 4 | 6): Promise<string> {
  try {
    return await sysctl.read(parameters[family]);
  } catch (error) {
    if (family === 4 || !isKind(error, "not-found")) throw error;
    throw new TrivetError({
      kind: "precondition",
      op: "sysctl.read",
      subject: parameters[family],
      message:
        "the network gives its pods IPv6 addresses, and this kernel has no IPv6 (ipv6.disable=1?): enable it, or take the IPv6 range out of the configuration",
      cause: error,
    });
  }
}

/**
 * A host that forwards IPv6 takes no more announcements of routers, and forgets the default route that it has learned, unless
 * accept_ra is 2 on that interface. Where a program listens in place of the kernel, accept_ra is 0 and stays so.
 */
async function keepAnnouncedRoutes({ sysctl, netlink }: Deps, log: Log): Promise<void> {
  const host = netlink.connect();
  try {
    const routes = await host.routesOf(ROUTES_BY_ANNOUNCEMENT);
    const defaults = routes.filter(({ prefixLength }) => prefixLength === 0);
    for (const index of new Set(defaults.map(({ linkIndex }) => linkIndex))) {
      const link = index === undefined ? undefined : await host.linkAt(index);
      if (!link) continue;
      const name = `net.ipv6.conf.${link.name.replaceAll(".", "/")}.accept_ra`;
      if ((await sysctl.read(name)) !== "1") continue;
      await sysctl.write(name, "2");
      log.info("a default route is announced on this link: it is kept while the host forwards IPv6", {
        sysctl: name,
      });
    }
  } finally {
    host.close();
  }
}
