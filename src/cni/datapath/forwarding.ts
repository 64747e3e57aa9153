/** The host must forward IPv4, or no pod reaches another. Switched on once and never off: others may rely on it too. */
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";

const IP_FORWARD = "net.ipv4.ip_forward";

/** Looks at every ADD: one read, and a node whose forwarding was switched off heals by itself. */
export async function ensureForwarding({ sysctl }: Pick<CniDeps, "sysctl">, log: Log): Promise<void> {
  if ((await sysctl.read(IP_FORWARD)) !== "0") return;
  await sysctl.write(IP_FORWARD, "1");
  log.info("switched IPv4 forwarding on, which was off", { sysctl: IP_FORWARD });
}
