/**
 * Where the state of one network lies: `<stateDir>/<boot id>/<network>/` with `leases`, `attachments` and `staging`
 * (files on their way to a name). Namespaces die with the boot, so do leases: a new boot starts with a new directory.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { ensureDirectory, type Files } from "../../host/files.ts";
import type { ContainerInterface } from "../protocol/environment.ts";
import { nullIfAbsent } from "./guard.ts";
import { needingRoom } from "./room.ts";

/** One attachment: a container's interface in a network. */
export interface AttachmentKey extends ContainerInterface {
  readonly network: string;
}

/** All paths of one network in one boot. */
export interface NetworkPaths {
  readonly leases: string;
  readonly attachments: string;
  readonly staging: string;
  /** Which address a pod had last; only where addresses are sticky. */
  readonly sticky: string;
  /** Where files of released addresses rest; only where there is a cooldown. */
  readonly released: string;
  /** Holds the place of the address that was leased last, one file for each range set. */
  cursor(setIndex: number): string;
  lease(address: string): string;
  attachment(key: ContainerInterface): string;
  /** The name of the record's file, in the directory of attachments. */
  attachmentName(key: ContainerInterface): string;
  /** Names in `staging` that belong to an attachment start with this. */
  stagingPrefix(key: ContainerInterface): string;
}

/** A file name holds at most 255 bytes; an interface name 15. */
const MAX_PLAIN_ID = 200;

/** Neither part can hold a colon, so two attachments never share a name. */
function attachmentName({ containerId, ifname }: ContainerInterface): string {
  const digest = () => createHash("sha256").update(containerId).digest("hex");
  return `${containerId.length > MAX_PLAIN_ID ? `sha256:${digest()}` : containerId}:${ifname}`;
}

/** Pure. `network` and the keys must be checked: they become names of files. */
export function networkPaths(bootDirectory: string, network: string): NetworkPaths {
  const root = join(bootDirectory, network);
  return {
    leases: join(root, "leases"),
    attachments: join(root, "attachments"),
    staging: join(root, "staging"),
    sticky: join(root, "sticky"),
    released: join(root, "released"),
    cursor: (setIndex) => join(root, `cursor.${setIndex}`),
    lease: (address) => join(root, "leases", address),
    attachment: (key) => join(root, "attachments", attachmentName(key)),
    attachmentName,
    stagingPrefix: (key) => `${attachmentName(key)}:`,
  };
}

/** Root's alone: leases name pods. */
const DIRECTORY_MODE = 0o700;

/** Makes what is missing of the three directories. */
export async function makeNetworkDirectories(files: Files, paths: NetworkPaths): Promise<void> {
  // Made last, so where it is there they all are: one question in the ordinary case.
  if (await nullIfAbsent(files.stat(paths.staging))) return;
  for (const path of [paths.leases, paths.attachments, paths.staging]) {
    await needingRoom(ensureDirectory(files, path, DIRECTORY_MODE));
  }
}

const bootIdPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Removes what earlier boots left below `stateDir`; gives the boot ids. Anything else there stays. */
export async function removeOldBoots(files: Files, stateDir: string, bootId: string): Promise<string[]> {
  const entries = (await nullIfAbsent(files.list(stateDir))) ?? [];
  const old = entries.filter(({ name, kind }) => kind === "directory" && bootIdPattern.test(name));
  const removed: string[] = [];
  for (const { name } of old) {
    if (name === bootId) continue;
    await files.removeTree(join(stateDir, name));
    removed.push(name);
  }
  return removed;
}
