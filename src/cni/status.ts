/**
 * STATUS (SPEC.md): whether an ADD would find what it needs: room for its state, an address of each range set, an IPAM plugin that
 * is ready. A runtime asks every few seconds, so no more is looked at than an ADD would look at.
 */
import { join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { CallContext } from "./context.ts";
import { askForeign } from "./gc/verb.ts";
import { BLIND_TRIES } from "./ipam/leases.ts";
import { candidateFor, candidates, leasableCount, poolSize, type RangeSet } from "./ipam/pool.ts";
import type { OwnIpam } from "./protocol/ipam-config.ts";
import type { NetworkConfig } from "./protocol/netconf.ts";
import { withStaged } from "./state/claim.ts";
import { nullIfAbsent } from "./state/guard.ts";
import { makeNetworkDirectories, type NetworkPaths, networkPaths } from "./state/paths.ts";

/** Resolves if an ADD would work. Throws kind `exhausted`, `io` or `unavailable`, which all become code 50. */
export async function status(
  context: CallContext,
  config: Pick<NetworkConfig, "name" | "stateDir" | "ipam">,
): Promise<void> {
  const { deps, request, signal, log } = context;
  const { files } = deps;
  const paths = networkPaths(join(config.stateDir, deps.bootId), config.name);
  await makeNetworkDirectories(files, paths);
  // The surest way to know that a record could be written.
  const staging = { files, paths, prefix: "status:", nonce: deps.nonce() };
  await withStaged(staging, Buffer.from("status\n"), async () => undefined);
  if (config.ipam.kind === "own")
    return requireFree(context, { paths, ipam: config.ipam, name: config.name });
  const { type } = config.ipam;
  const [problem] = await askForeign(deps, { ...request, command: "STATUS", type, signal, log });
  if (problem === undefined) return;
  throw new TrivetError({ kind: "unavailable", op: "status", subject: type, message: problem });
}

interface Pool {
  readonly paths: NetworkPaths;
  readonly ipam: OwnIpam;
  readonly name: string;
}

async function requireFree({ deps, cursors }: CallContext, { paths, ipam, name }: Pool): Promise<void> {
  for (const [index, set] of ipam.rangeSets.entries()) {
    const start = (await cursors.peek(paths.cursor(index))) % poolSize(set);
    if (await hasFree(deps.files, paths, { set, start, reserved: reservedIn(ipam, set) })) continue;
    throw new TrivetError({
      kind: "exhausted",
      op: "status",
      subject: name,
      message: `network ${name} has no free address: all ${leasableCount(set)} of range set ${index} are leased or reserved`,
    });
  }
}

function reservedIn({ options }: OwnIpam, set: RangeSet): ReadonlySet<string> {
  const found = options.reservations.map(({ address }) => candidateFor(set, address)?.address);
  return new Set(found.filter((address) => address !== undefined));
}

interface Search {
  readonly set: RangeSet;
  readonly start: bigint;
  readonly reserved: ReadonlySet<string>;
}

/** As an ADD does it: a few names from the cursor on, and the directory only where all of these are taken. */
async function hasFree(
  files: CallContext["deps"]["files"],
  paths: NetworkPaths,
  { set, start, reserved }: Search,
): Promise<boolean> {
  let tries = 0;
  for (const { address } of candidates(set, start)) {
    if (tries === BLIND_TRIES) break;
    if (reserved.has(address)) continue;
    tries += 1;
    if (!(await nullIfAbsent(files.stat(paths.lease(address))))) return true;
  }
  const taken = new Set(((await nullIfAbsent(files.list(paths.leases))) ?? []).map(({ name }) => name));
  for (const { address } of candidates(set, start)) {
    if (!taken.has(address) && !reserved.has(address)) return true;
  }
  return false;
}
