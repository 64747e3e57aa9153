/**
 * CHECK (SPEC.md): compares the attachment with what ADD made of it: record, leases, both ends of the link, addresses, routes
 * and neighbours on both sides, rules. What later plugins of the chain added is not ours to judge. Names every difference in one message.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { CallContext } from "./context.ts";
import { checkLinks } from "./datapath/check-link.ts";
import { checkRules } from "./datapath/check-rules.ts";
import type { CniDeps } from "./deps.ts";
import { verify } from "./ipam/allocate.ts";
import type { AttachmentCall } from "./protocol/environment.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { isObject, type JsonObject } from "./protocol/problems.ts";
import { addressesOf } from "./protocol/result.ts";
import { type AttachmentRecord, readAttachment } from "./state/attachments.ts";
import { networkPaths } from "./state/paths.ts";

/** Gives the attachment's addresses. Throws `not-found` if there is no such attachment, `precondition` if it is damaged. */
export async function check(
  context: CallContext,
  call: AttachmentCall,
  config: NetworkConfig,
): Promise<readonly string[]> {
  const { deps } = context;
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  const record = await readAttachment(deps.files, paths, call);
  if (record === undefined || record === "unreadable") {
    throw failure("not-found", call, [`network ${config.name} knows no ${call.ifname} of this container`]);
  }
  if (!config.prevResult) throw failure("invalid", call, ["CHECK needs the prevResult of its ADD"]);
  const differences = [
    ...checkPrevResult(addressesOf(config.prevResult), record),
    ...(await verify({ context, paths, record })),
    ...(await checkInside(deps, { call, config, record })),
    ...(await checkRules(deps, record)),
  ];
  if (differences.length > 0) throw failure("precondition", call, differences);
  return record.addresses;
}

function failure(
  kind: "not-found" | "invalid" | "precondition",
  { containerId }: AttachmentCall,
  found: readonly string[],
): TrivetError {
  const message = `check of container ${containerId}: ${found.join("; ")}`;
  return new TrivetError({ kind, op: "attachment.check", subject: containerId, message });
}

function checkPrevResult(announced: readonly string[], { state, addresses }: AttachmentRecord): string[] {
  if (state === "pending") return ["its ADD never finished"];
  const missing = addresses.filter((address) => !announced.includes(address));
  return missing.map((address) => `prevResult lacks its address ${address}`);
}

interface InsideCheck {
  readonly call: AttachmentCall;
  readonly config: NetworkConfig;
  readonly record: AttachmentRecord;
}

async function checkInside(deps: CniDeps, { call, config, record }: InsideCheck): Promise<string[]> {
  const { link, prevResult = {} } = config;
  const { mode = "routed" } = record;
  if (mode !== link.mode) return [`it was made in mode ${mode}, and the configuration says ${link.mode}`];
  const netns = deps.netns.open(call.netns);
  try {
    return await checkLinks(deps, netns, { record, link, podMacs: podMacs(record, prevResult) });
  } finally {
    netns?.close();
  }
}

/** The MAC that ADD gave, and the one that the chain's last word on this interface says. */
function podMacs({ podMac, ifname }: AttachmentRecord, prevResult: JsonObject): string[] {
  const interfaces = Array.isArray(prevResult.interfaces) ? prevResult.interfaces : [];
  const told = interfaces.flatMap((one: unknown) =>
    isObject(one) && one.name === ifname && typeof one.mac === "string" && one.sandbox
      ? [one.mac.toLowerCase()]
      : [],
  );
  return [podMac, ...told];
}
