/** Every attachment of a node, by reading all records: for repairs and for conflicts, never on the way of an ordinary call. */
import { join } from "node:path";
import type { CniDeps } from "../deps.ts";
import { type AttachmentRecord, readAttachment } from "./attachments.ts";
import { decodeEntry, textField } from "./entry.ts";
import { nullIfAbsent } from "./guard.ts";
import { networkPaths } from "./paths.ts";

/** Of all networks of this boot. Records that cannot be read are left out. */
export async function listAttachments(
  { files, bootId }: Pick<CniDeps, "files" | "bootId">,
  stateDir: string,
): Promise<AttachmentRecord[]> {
  const boot = join(stateDir, bootId);
  const found: AttachmentRecord[] = [];
  for (const { name: network } of (await nullIfAbsent(files.list(boot))) ?? []) {
    const paths = networkPaths(boot, network);
    for (const { name } of (await nullIfAbsent(files.list(paths.attachments))) ?? []) {
      const bytes = await nullIfAbsent(files.read(join(paths.attachments, name)));
      // A long container id is not in the file's name.
      const value = (bytes && decodeEntry(bytes)?.value) ?? {};
      const key = { containerId: textField(value, "containerId"), ifname: textField(value, "ifname") };
      const record = await readAttachment(files, paths, key);
      if (record !== undefined && record !== "unreadable") found.push(record);
    }
  }
  return found;
}
