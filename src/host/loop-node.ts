/**
 * The nodes of loop devices in /dev, one at a time: opened, asked, configured, cleared. Which file is to be on which device
 * is decided in `loop.ts`.
 */
import { access, constants, type FileHandle, open, readdir, readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isKind, TrivetError, withCleanupFailure } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import type { LoopOptions } from "./loop.ts";
import { type LoopStatus, loopFlags } from "./syscall/loop.ts";
import type { Syscalls } from "./syscall.ts";

/** A file, as stat(2) and the status of a device name it. */
export interface FileKey {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** The same as a key of maps. */
export function nameOf({ dev, ino }: FileKey): string {
  return `${dev}:${ino}`;
}

/** The calls that these files take. */
export type LoopSyscalls = Pick<
  Syscalls,
  | ("freeLoop" | "removeLoop" | "configureLoop" | "loopStatus" | "setLoopFlags" | "setLoopCapacity")
  | ("clearLoop" | "makeLoopNode")
>;

/** A device that was just configured, still open: with `autoClear` it lasts for as long as somebody has it open. */
export interface ConfiguredLoop {
  readonly path: string;
  readonly handle: FileHandle;
  readonly directIo: boolean;
}

/** What can be done with the nodes. */
export interface LoopNodes {
  /** Undefined for a device that shows nothing. */
  status(path: string): Promise<LoopStatus | undefined>;
  /** All devices that show something. */
  all(): Promise<readonly (readonly [path: string, status: LoopStatus])[]>;
  configure(image: string, options: LoopOptions, flags: number): Promise<ConfiguredLoop>;
  /** Makes sure that the device stays when its last user closes it; false if it has gone. */
  keep(path: string, key: FileKey): Promise<boolean>;
  refresh(path: string): Promise<void>;
  /** Whether the device has let the file go; if not, it will when its last user is gone. */
  detach(path: string, key: FileKey): Promise<boolean>;
  /** Closes a device that lasts only for as long as it is open. */
  release(device: ConfiguredLoop, key: FileKey): Promise<void>;
}

const ATTACH_TRIES = 64;
const RENEWALS = 8;
const SCAN_AT_ONCE = 8;
/** Programs that watch devices (udev) open them for a moment whenever something changes. */
const RELEASE_TRIES = 20;
const RELEASE_POLL_MS = 50;
const READ_ONLY_OPEN = constants.O_RDONLY | constants.O_NOFOLLOW;

/** The nodes of this machine. */
export function createLoopNodes(syscalls: LoopSyscalls): LoopNodes {
  const withNode = async <T>(path: string, act: (fd: number) => Promise<T>): Promise<T> => {
    const handle = await openNode(syscalls, path, READ_ONLY_OPEN);
    try {
      return await act(handle.fd);
    } finally {
      await handle.close();
    }
  };
  /** ENXIO is what an unbound device answers to the question, and one that is letting its file go to open(2). */
  const ifBound = async <T>(path: string, act: (fd: number) => Promise<T>): Promise<T | undefined> =>
    withNode(path, act).catch((error) => {
      if (isKind(error, "not-found")) return undefined;
      throw error;
    });
  const status = (path: string) => ifBound(path, syscalls.loopStatus);
  const isGone = async (path: string, key: FileKey): Promise<boolean> => {
    for (let tries = 0; ; tries++) {
      const now = await status(path);
      if (!now || nameOf(now) !== nameOf(key)) return true;
      if (tries === RELEASE_TRIES) return false;
      await sleep(RELEASE_POLL_MS);
    }
  };
  return {
    status,
    async release({ path, handle }, key) {
      await handle.close();
      if (!(await isGone(path, key))) throw stillUsed(path);
    },
    async all() {
      const found: [string, LoopStatus][] = [];
      const queue = await boundDevices();
      const ask = async () => {
        for (let path = queue.pop(); path; path = queue.pop()) {
          const shown = await status(path);
          if (shown) found.push([path, shown]);
        }
      };
      await Promise.all(Array.from({ length: SCAN_AT_ONCE }, ask));
      return found;
    },
    configure: (image, options, flags) => configureFree(syscalls, { image, options, flags }),
    async keep(path, key) {
      const kept = await ifBound(path, async (fd) => {
        // It cannot go away now: we have it open.
        const now = await syscalls.loopStatus(fd);
        if (nameOf(now) !== nameOf(key)) return false;
        if (now.offset !== 0n || now.sizeLimit !== 0n || now.flags & loopFlags.readOnly) throw foreign(path);
        if (now.flags & loopFlags.autoClear)
          await syscalls.setLoopFlags(fd, now.flags & ~loopFlags.autoClear);
        return true;
      });
      return kept ?? false;
    },
    refresh: (path) => withNode(path, (fd) => syscalls.setLoopCapacity(fd)),
    async detach(path, key) {
      await ifBound(path, async (fd) => {
        const now = await syscalls.loopStatus(fd);
        if (nameOf(now) === nameOf(key)) await syscalls.clearLoop(fd);
      });
      return isGone(path, key);
    },
  };
}

/** The paths of all devices that showed something a moment ago. */
async function boundDevices(): Promise<string[]> {
  const names = (await readdir("/sys/block")).filter((name) => /^loop\d+$/.test(name));
  const bound = await Promise.all(
    names.map((name) =>
      access(`/sys/block/${name}/loop`).then(
        () => [`/dev/${name}`],
        () => [],
      ),
    ),
  );
  return bound.flat();
}

/** A container may have a /dev of its own, in which the device that was made just now has no node. */
async function openNode(syscalls: LoopSyscalls, path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      await syscalls.makeLoopNode(path, numberOf(path)).catch((made) => {
        if (!isKind(made, "conflict")) throw made;
      });
      return open(path, flags);
    });
  } catch (error) {
    throw fromNodeError(error, "loop.open", path);
  }
}

interface Wanted {
  readonly image: string;
  readonly options: LoopOptions;
  readonly flags: number;
}

async function configureFree(syscalls: LoopSyscalls, wanted: Wanted): Promise<ConfiguredLoop> {
  const control = await openPath("/dev/loop-control", constants.O_RDWR);
  try {
    const image = await openPath(wanted.image, constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      for (let tries = 1; ; tries++) {
        const path = await freeNode(syscalls, control.fd, wanted);
        try {
          return await configureNode(syscalls, path, image.fd, wanted);
        } catch (error) {
          // Another process was faster. Whoever loses again and again is not alone with a machine that works.
          if (!isKind(error, "precondition", "not-found") || tries === ATTACH_TRIES) throw error;
        }
      }
    } finally {
      await image.close();
    }
  } finally {
    await control.close();
  }
}

/**
 * A device that was free a moment ago. A limit on discards outlasts the file, and the kernel does not let it be lifted: the
 * device is removed, and another made. That takes tens of milliseconds, so it is done only for who wants discards, and not
 * when a file is detached. If somebody else has the device, there is no harm in serving without.
 */
async function freeNode(
  syscalls: LoopSyscalls,
  controlFd: number,
  { options, flags }: Wanted,
): Promise<string> {
  for (let tries = 1; ; tries++) {
    const number = await syscalls.freeLoop(controlFd);
    const path = `/dev/loop${number}`;
    const isHeld = (flags & loopFlags.autoClear) !== 0;
    if (!options.discard || isHeld || tries > RENEWALS || !(await takesNoDiscards(path))) return path;
    await syscalls.removeLoop(controlFd, number).catch((error) => {
      if (!isKind(error, "precondition", "not-found")) throw error;
    });
  }
}

async function configureNode(
  syscalls: LoopSyscalls,
  path: string,
  imageFd: number,
  { options, flags }: Wanted,
): Promise<ConfiguredLoop> {
  const handle = await openNode(syscalls, path, constants.O_RDWR | constants.O_NOFOLLOW);
  const isHeld = (flags & loopFlags.autoClear) !== 0; // for a moment, by ourselves, who discard nothing
  let ours = false;
  try {
    const configure = (direct: number) =>
      syscalls.configureLoop(handle.fd, imageFd, options.blockSize, flags | direct);
    await configure(loopFlags.directIo).catch((error) => {
      if (isKind(error, "precondition")) throw error;
      return configure(0); // a disk with larger blocks, or a file system without direct I/O
    });
    ours = true;
    const { flags: got } = await syscalls.loopStatus(handle.fd);
    if (!options.discard && !isHeld) await refuseDiscards(path);
    return { path, handle, directIo: (got & loopFlags.directIo) !== 0 };
  } catch (error) {
    // Only what is ours: the device may be another process's, which was faster.
    if (ours) await syscalls.clearLoop(handle.fd).catch((cleanup) => withCleanupFailure(error, cleanup));
    await handle.close();
    throw error;
  }
}

/** What limits that which may give space back. The second exists from Linux 6.17 on. */
const discardLimits = ["discard_max_bytes", "write_zeroes_unmap_max_bytes"] as const;

function limitOf(path: string, name: (typeof discardLimits)[number]): string {
  return `/sys/block/${path.replace("/dev/", "")}/queue/${name}`;
}

/**
 * From now on the device refuses to give space back. Where that cannot be said, as with a read-only /sys, space is
 * reserved again at the next attachment.
 */
async function refuseDiscards(path: string): Promise<void> {
  if (await takesNoDiscards(path)) return; // writing it would stop the device for a moment
  for (const name of discardLimits) await writeFile(limitOf(path, name), "0").catch(() => undefined);
}

async function takesNoDiscards(path: string): Promise<boolean> {
  const limit = await readFile(limitOf(path, discardLimits[0]), "utf8").catch(() => "");
  return limit.trim() === "0";
}

function numberOf(path: string): number {
  return Number(path.replace("/dev/loop", ""));
}

async function openPath(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (error) {
    throw fromNodeError(error, "loop.open", path);
  }
}

function stillUsed(path: string): TrivetError {
  const message = `${path} is still mounted or open elsewhere: it lets its file go when that ends`;
  return new TrivetError({ kind: "precondition", op: "loop.release", subject: path, message });
}

function foreign(path: string): TrivetError {
  const message = `${path} shows only a part of the image, or not for writing: detach it with "losetup --detach ${path}"`;
  return new TrivetError({ kind: "precondition", op: "loop.attach", subject: path, message });
}
