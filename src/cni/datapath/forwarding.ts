/** The host must forward IPv4, or no pod reaches another. Switched on once and never off: others may rely on it too. */
import { asTrivetError, TrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";

const IP_FORWARD = "net.ipv4.ip_forward";

async function switchOn(sysctl: CniDeps["sysctl"]): Promise<void> {
  try {
    await sysctl.write(IP_FORWARD, "1");
  } catch (error) {
    const { kind, op, message } = asTrivetError(error, "sysctl.write", IP_FORWARD);
    throw new TrivetError({
      kind,
      op,
      subject: IP_FORWARD,
      message: `IPv4 forwarding is off and cannot be switched on from here (${message}): run "sysctl -w ${IP_FORWARD}=1" on the host`,
      cause: error,
    });
  }
}

/** Looks at every ADD: one read, and a node whose forwarding was switched off heals by itself. */
export async function ensureForwarding({ sysctl }: Pick<CniDeps, "sysctl">, log: Log): Promise<void> {
  if ((await sysctl.read(IP_FORWARD)) !== "0") return;
  await switchOn(sysctl);
  log.info("switched IPv4 forwarding on, which was off", { sysctl: IP_FORWARD });
}
