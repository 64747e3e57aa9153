/**
 * A pool that is this node's `spec.podCIDRs`. The agent writes them beside the leases when it learns them, and whoever runs an ADD
 * reads them there, the standalone plugin too. DEL never looks: leases of an earlier CIDR are released by their records.
 */
import { join } from "node:path";
import { TrivetError } from "../../errors.ts";
import { ensureDirectory, type Files, replaceFile } from "../../host/files.ts";
import { isObject, type JsonObject } from "../protocol/problems.ts";
import { nullIfAbsent } from "../state/guard.ts";
import { formatNetwork, networkOf, parseCidr } from "./address.ts";

/** `ipam.source` of a configuration whose ranges are the node's. */
export const podCidrSource = "podCIDRs";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

function fileIn(stateDir: string): string {
  return join(stateDir, "pod-cidrs.json");
}

/** The canonical form of each that is a network, in their order. */
export function canonicalCidrs(cidrs: readonly string[]): string[] {
  return cidrs.flatMap((text) => {
    const cidr = parseCidr(text);
    return cidr ? [formatNetwork(networkOf(cidr))] : [];
  });
}

/** What was written last; undefined where nothing was. Throws kind `unavailable` for a file that is not ours to read. */
export async function readPodCidrs(files: Files, stateDir: string): Promise<readonly string[] | undefined> {
  const bytes = await nullIfAbsent(files.read(fileIn(stateDir)));
  if (!bytes) return undefined;
  try {
    const { podCIDRs } = JSON.parse(bytes.toString("utf8")) as { podCIDRs?: unknown };
    if (Array.isArray(podCIDRs)) return canonicalCidrs(podCIDRs.map(String));
  } catch {
    // Told as below.
  }
  throw awaited(`${fileIn(stateDir)} is not readable: trivet node writes it anew when it starts`);
}

/** Whether this changed anything. A node without CIDRs leaves what was known: its pods go on. */
export async function writePodCidrs(
  files: Files,
  stateDir: string,
  cidrs: readonly string[],
): Promise<boolean> {
  const wanted = canonicalCidrs(cidrs);
  if (wanted.length === 0) return false;
  const present = await readPodCidrs(files, stateDir).catch(() => undefined);
  if (present?.join() === wanted.join()) return false;
  await ensureDirectory(files, stateDir, DIRECTORY_MODE);
  await replaceFile(
    files,
    fileIn(stateDir),
    Buffer.from(`${JSON.stringify({ podCIDRs: wanted })}\n`),
    FILE_MODE,
  );
  return true;
}

/**
 * The configuration with the node's networks as its ranges where it asks for them, one set for each family; any other as it is.
 * Throws kind `unavailable` (code 11) while they are not known, and `invalid` for a source that there is not.
 */
export async function withPodCidrs(files: Files, config: JsonObject, stateDir: string): Promise<JsonObject> {
  const { ipam } = config;
  if (!isObject(ipam) || ipam.source === undefined) return config;
  const { source, ...rest } = ipam;
  if (source !== podCidrSource) throw invalidSource(source, `it must be "${podCidrSource}"`);
  if (rest.ranges !== undefined || rest.subnet !== undefined) {
    throw invalidSource(source, "ranges or a subnet cannot be given beside it");
  }
  const cidrs = await readPodCidrs(files, stateDir);
  if (!cidrs || cidrs.length === 0) {
    throw awaited(
      `the pod networks of this node are not known yet: trivet node writes them to ${fileIn(stateDir)} ` +
        "as soon as the API server has told the node's spec.podCIDRs",
    );
  }
  return { ...config, ipam: { ...rest, ranges: cidrs.map((subnet) => [{ subnet }]) } };
}

function invalidSource(source: unknown, why: string): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "netconf.parse",
    subject: "ipam.source",
    message: `ipam.source is ${JSON.stringify(source)}: ${why}`,
  });
}

function awaited(message: string): TrivetError {
  return new TrivetError({ kind: "unavailable", op: "ipam.podCIDRs", subject: podCidrSource, message });
}
