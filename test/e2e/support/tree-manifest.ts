/** All that a tree is, as text to compare: kinds, modes, owners, links, times, attributes, contents and holes. */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Syscalls } from "../../../src/host/syscall.ts";

type Attributes = Pick<Syscalls, "listXattrs" | "getXattr">;

/** Paths relative to `root`, which is `.`, each with what it is. Access times are left out: comparing changes them. */
export async function treeManifest(syscalls: Attributes, root: string): Promise<Record<string, object>> {
  const manifest: Record<string, object> = {};
  const firstNames = new Map<bigint, string>();
  const visit = async (path: string, name: string): Promise<void> => {
    const stat = lstatSync(path, { bigint: true });
    const first = firstNames.get(stat.ino) ?? name;
    firstNames.set(stat.ino, first);
    manifest[name] = {
      ...{
        mode: stat.mode.toString(8),
        owner: `${stat.uid}:${stat.gid}`,
        mtimeNs: stat.mtimeNs,
        rdev: stat.rdev,
      },
      ...(stat.isDirectory() ? {} : { links: stat.nlink, first, size: stat.size }),
      ...(stat.isSymbolicLink()
        ? { target: readlinkSync(path) }
        : { xattrs: await xattrsOf(syscalls, path) }),
      ...(stat.isFile() ? { content: createHash("sha256").update(readFileSync(path)).digest("hex") } : {}),
    };
    if (!stat.isDirectory()) return;
    for (const child of readdirSync(path).sort()) await visit(`${path}/${child}`, `${name}/${child}`);
  };
  await visit(root, ".");
  return manifest;
}

async function xattrsOf(syscalls: Attributes, path: string): Promise<Record<string, string>> {
  const names = (await syscalls.listXattrs(Buffer.from(path))).filter((name) => !name.startsWith("btrfs."));
  const values: Record<string, string> = {};
  for (const name of [...names].sort()) {
    values[name] = (await syscalls.getXattr(Buffer.from(path), name)).toString("hex");
  }
  return values;
}
