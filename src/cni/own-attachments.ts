/** Every attachment of every network of this boot, by reading all records: for what happens rarely, never for a call. */
import { join } from "node:path";
import type { CniDeps } from "./deps.ts";
import { type AttachmentRecord, readAttachment } from "./state/attachments.ts";
import { nullIfAbsent } from "./state/guard.ts";
import { networkPaths } from "./state/paths.ts";

type Deps = Pick<CniDeps, "files" | "bootId">;

/** The networks that have had a pod since the boot. */
export async function ownNetworks({ files, bootId }: Deps, stateDir: string): Promise<string[]> {
  const entries = (await nullIfAbsent(files.list(join(stateDir, bootId)))) ?? [];
  return entries.filter(({ kind }) => kind === "directory").map(({ name }) => name);
}

/** Finished attachments whose record can be read. Those of containers with very long ids are left out: names hold only a digest. */
export async function ownAttachments(deps: Deps, stateDir: string): Promise<AttachmentRecord[]> {
  const found: AttachmentRecord[] = [];
  for (const network of await ownNetworks(deps, stateDir)) {
    const paths = networkPaths(join(stateDir, deps.bootId), network);
    for (const { name } of (await nullIfAbsent(deps.files.list(paths.attachments))) ?? []) {
      const split = name.lastIndexOf(":");
      const key = { network, containerId: name.slice(0, split), ifname: name.slice(split + 1) };
      const record = await readAttachment(deps.files, paths, key);
      if (record && record !== "unreadable" && record.state === "committed") found.push(record);
    }
  }
  return found;
}
