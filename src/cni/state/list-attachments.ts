/** Every network and attachment of a node, by reading all records: for repairs and for conflicts, never on the way of an ordinary call. */
import { join } from "node:path";
import type { CniDeps } from "../deps.ts";
import { type AttachmentRecord, decodeAttachment } from "./attachments.ts";
import { decodeEntry, textField } from "./entry.ts";
import { nullIfAbsent } from "./guard.ts";
import { networkPaths } from "./paths.ts";

type Deps = Pick<CniDeps, "files" | "bootId">;

/** Every network with state of this boot, by name. */
export async function listNetworks({ files, bootId }: Deps, stateDir: string): Promise<string[]> {
  const entries = (await nullIfAbsent(files.list(join(stateDir, bootId)))) ?? [];
  return entries.flatMap(({ name, kind }) => (kind === "directory" ? [name] : [])).sort();
}

/** How many addresses are leased, by network: names are counted and nothing is read, so that it may be asked often. */
export async function countLeases(deps: Deps, stateDir: string): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const network of await listNetworks(deps, stateDir)) {
    const { leases } = networkPaths(join(stateDir, deps.bootId), network);
    counts.set(network, (await nullIfAbsent(deps.files.list(leases)))?.length ?? 0);
  }
  return counts;
}

/** Of all networks of this boot. Records that cannot be read are left out. */
export async function listAttachments(deps: Deps, stateDir: string): Promise<AttachmentRecord[]> {
  const { files, bootId } = deps;
  const found: AttachmentRecord[] = [];
  for (const network of await listNetworks(deps, stateDir)) {
    const { attachments, attachmentName } = networkPaths(join(stateDir, bootId), network);
    for (const { name } of (await nullIfAbsent(files.list(attachments))) ?? []) {
      const bytes = await nullIfAbsent(files.read(join(attachments, name)));
      // A long container id is not in the file's name.
      const value = (bytes && decodeEntry(bytes)?.value) ?? {};
      const key = { containerId: textField(value, "containerId"), ifname: textField(value, "ifname") };
      const record = bytes && decodeAttachment(bytes, key);
      if (record && record !== "unreadable" && attachmentName(key) === name) found.push(record);
    }
  }
  return found;
}
