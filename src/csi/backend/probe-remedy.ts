/** Which commands would give a disk the quotas that it lacks. Pure. */
import type { MountInfo } from "../../host/mount.ts";

/** Where quotas were found to be missing. */
export interface Lacking {
  /** The mount that shows the pool; undefined where none was found. */
  readonly mount: MountInfo | undefined;
  readonly path: string;
  /** statfs(2), f_type. */
  readonly type: number;
}

/** What would change it. */
export interface QuotaRemedy {
  /** Half a sentence, with the command in it. */
  readonly say: string;
  /** What can be typed as it is; absent where the machine has to be booted for it, or where a name in it is not known. */
  readonly command?: string;
}

/** `remedyOf` in words; undefined where nothing helps. */
export function remedyFor(lacking: Lacking): string | undefined {
  return remedyOf(lacking)?.say;
}

/** Undefined where nothing helps. */
export function remedyOf({ mount, path, type }: Lacking): QuotaRemedy | undefined {
  const device = mount?.source.startsWith("/") ? mount.source : "DEVICE";
  const at = mount?.mountPoint ?? path;
  if (type === 0x9123683e)
    return { say: `run "btrfs quota enable ${at}"`, command: `btrfs quota enable ${at}` };
  if (type !== 0x58465342 && type !== 0xef53) return undefined;
  // In a container, which is shown a part of the disk: there it cannot be told where the host has mounted it.
  if (mount && mount.root !== "/") {
    return { say: `"trivet doctor" on this node knows where ${device} is mounted, and names the command` };
  }
  const typed = (command: string) => (device === "DEVICE" ? {} : { command });
  if (type === 0x58465342) {
    const command = `umount ${at} && mount -o prjquota ${device} ${at}`;
    return at === "/"
      ? { say: 'add "rootflags=prjquota" to the command line of the kernel and boot again' }
      : {
          say: `mount it with the option prjquota, in /etc/fstab too: "${command}" (a remount does not do)`,
          ...typed(command),
        };
  }
  const features = `tune2fs -O project,quota -Q prjquota ${device}`;
  const command = `umount ${at} && ${features} && mount -o prjquota ${device} ${at}`;
  return at === "/"
    ? {
        say: `run "${features}" from a rescue system and add "rootflags=prjquota" to the command line of the kernel`,
      }
    : { say: `run "${command}", and add prjquota to its options in /etc/fstab`, ...typed(command) };
}

/**
 * The mount that shows the path: the last one that covers it; where that shows a part of a file system only, one that shows all of
 * it is better, if there is one.
 */
export function mountOf(table: readonly MountInfo[], path: string): MountInfo | undefined {
  const covers = ({ mountPoint }: MountInfo) => mountPoint === "/" || `${path}/`.startsWith(`${mountPoint}/`);
  const found = table
    .filter(covers)
    .reduce<MountInfo | undefined>(
      (best, next) => (best && best.mountPoint.length > next.mountPoint.length ? best : next),
      undefined,
    );
  if (!found || found.root === "/") return found;
  return table.find(({ device, root }) => device === found.device && root === "/") ?? found;
}
