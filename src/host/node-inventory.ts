/**
 * Block devices and file systems of the machine, for people. Runs lsblk and df by way of a library that is loaded only here:
 * never on the path of a call.
 */

/** What lies under a path. */
export interface DiskDescription {
  /** Such as `/dev/nvme0n1p2`. */
  readonly device: string;
  readonly fsType: string;
  readonly mountPoint: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
  /** Such as `SSD` or `HDD`; absent where the machine does not tell. */
  readonly media?: string;
  /** Such as `nvme` or `sata`. */
  readonly bus?: string;
  readonly model?: string;
}

/** Describes what lies under each path; undefined where that is not found. */
export async function describeDisks(
  paths: readonly string[],
): Promise<ReadonlyMap<string, DiskDescription | undefined>> {
  const { default: machine } = await import("systeminformation");
  const [sizes, devices] = await Promise.all([machine.fsSize(), machine.blockDevices()]);
  const describe = (path: string): DiskDescription | undefined => {
    const covering = sizes.filter(
      ({ mount }) => path === mount || path.startsWith(mount === "/" ? "/" : `${mount}/`),
    );
    const [closest] = covering.sort((a, b) => b.mount.length - a.mount.length);
    if (!closest) return undefined;
    const device = devices.find(({ name }) => `/dev/${name}` === closest.fs);
    const disk = device && whole(devices, device.name);
    const media = disk?.physical || device?.physical;
    const bus = disk?.protocol || device?.protocol;
    const model = disk?.model || device?.model;
    return {
      ...{ device: closest.fs, fsType: closest.type, mountPoint: closest.mount },
      ...{ totalBytes: closest.size, usedBytes: closest.used },
      ...(media ? { media } : {}),
      ...(bus ? { bus } : {}),
      ...(model ? { model } : {}),
    };
  };
  return new Map(paths.map((path) => [path, describe(path)]));
}

/** The disk of a partition: the longest name of a disk that the partition's begins with. */
function whole<Device extends { readonly name: string; readonly type: string }>(
  devices: readonly Device[],
  partition: string,
): Device | undefined {
  const disks = devices.filter(({ type, name }) => type === "disk" && partition.startsWith(name));
  return disks.sort((a, b) => b.name.length - a.name.length)[0];
}
