/** Which verb answers a call: by its command, and by whether it is ours or that of another plugin that needs addresses. */
import { add } from "./add.ts";
import { check } from "./check.ts";
import type { CallContext } from "./context.ts";
import { del } from "./del.ts";
import { gc } from "./gc/verb.ts";
import { withPodCidrs } from "./ipam/pod-cidrs.ts";
import { addAsIpam, checkAsIpam } from "./ipam-role.ts";
import type { KeyedTurns } from "./keyed-turns.ts";
import { loopback, loopbackType } from "./loopback.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import { isIpamRole, type NetworkIdentity, parseConfig, parseIpamRole } from "./protocol/netconf.ts";
import { status } from "./status.ts";

/** What is known of a call for its line in the log; it grows as the call goes on. */
export interface CallFacts {
  command: string;
  call?: AttachmentCall;
  network?: string;
  addresses?: readonly string[];
  /** By GC. */
  removed?: number;
  cniVersion?: unknown;
}

interface AttachmentDispatch {
  readonly call: AttachmentCall;
  readonly identity: NetworkIdentity;
  readonly facts: CallFacts;
}

/** ADD, DEL and CHECK. Gives what goes to stdout. */
export async function dispatchAttachment(
  context: CallContext,
  { call, identity, facts }: AttachmentDispatch,
): Promise<string> {
  const { deps, request } = context;
  if (request.config.type === loopbackType) return loopback(deps, call, request.config);
  if (call.command === "DEL") {
    facts.addresses = await del(context, call, identity);
    return "";
  }
  const config = await withPodCidrs(deps.files, request.config, identity.stateDir);
  const asIpam = isIpamRole(config);
  switch (call.command) {
    case "ADD": {
      const outcome = asIpam
        ? await addAsIpam(context, call, parseIpamRole(config, call.asked))
        : await add(context, call, parseConfig(config, call.asked));
      facts.addresses = outcome.addresses;
      return outcome.stdout;
    }
    case "CHECK":
      facts.addresses = asIpam
        ? await checkAsIpam(context, call, parseIpamRole(config, call.asked))
        : await check(context, call, parseConfig(config, call.asked));
      return "";
  }
}

interface NetworkDispatch {
  readonly identity: NetworkIdentity;
  readonly turns: KeyedTurns;
  readonly facts: CallFacts;
}

/** GC and STATUS, which print nothing. */
export async function dispatchNetwork(
  context: CallContext,
  { identity, turns, facts }: NetworkDispatch,
): Promise<string> {
  const { deps, request } = context;
  // A loopback keeps nothing and needs nothing.
  if (request.config.type === loopbackType) return "";
  if (facts.command === "GC") facts.removed = await gc(context, { identity, turns });
  else {
    const config = await withPodCidrs(deps.files, request.config, identity.stateDir);
    await status(context, isIpamRole(config) ? parseIpamRole(config) : parseConfig(config));
  }
  return "";
}
