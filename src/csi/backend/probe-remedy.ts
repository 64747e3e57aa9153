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

/** Half a sentence; undefined where nothing helps. */
export function remedyFor({ mount, path, type }: Lacking): string | undefined {
  const device = mount?.source.startsWith("/") ? mount.source : "DEVICE";
  const at = mount?.mountPoint ?? path;
  if (type === 0x9123683e) return `run "btrfs quota enable ${at}"`;
  if (type === 0x58465342) {
    return at === "/"
      ? 'add "rootflags=prjquota" to the command line of the kernel and boot again'
      : `mount it with the option prjquota, in /etc/fstab too: "umount ${at} && mount -o prjquota ${device} ${at}" (a remount does not do)`;
  }
  if (type !== 0xef53) return undefined;
  const features = `tune2fs -O project,quota -Q prjquota ${device}`;
  return at === "/"
    ? `run "${features}" from a rescue system and add "rootflags=prjquota" to the command line of the kernel`
    : `run "umount ${at} && ${features} && mount -o prjquota ${device} ${at}", and add prjquota to its options in /etc/fstab`;
}
