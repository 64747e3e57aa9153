/** What an image file holds, read from its superblock. Pure; knows the three file systems that images are made with. */

/** The file systems that images are made with; the first is the default. */
export const imageFsTypes = ["ext4", "xfs", "btrfs"] as const;
/** One of `imageFsTypes`. */
export type ImageFsType = (typeof imageFsTypes)[number];

/** A file system within an image. */
export interface ImageContent {
  readonly fsType: ImageFsType;
  /** Its size by its own account; at most that of the image. */
  readonly sizeBytes: number;
  /** Whether it is known to have been unmounted properly. Never of XFS, whose log alone would tell. */
  readonly clean: boolean;
}

/** As much of an image as `parseImageContent` looks at. */
export const HEADER_BYTES = 64 * 1024 + 4096;

// linux/fs/ext4/ext4.h: struct ext4_super_block, at byte 1024.
const EXT4_AT = 1024;
const EXT4_MAGIC = 0xef53;
const EXT4_VALID = 1;
const EXT4_ERROR = 2;
const EXT4_NEEDS_RECOVERY = 4;
// linux/fs/xfs/libxfs/xfs_format.h: struct xfs_dsb, at byte 0, big-endian.
const XFS_MAGIC = "XFSB";
// linux/btrfs_tree.h: struct btrfs_super_block, at byte 65536.
const BTRFS_AT = 64 * 1024;
const BTRFS_LOG_ROOT = 96;
const BTRFS_MAGIC = "_BHRfS_M";

/** What the first `HEADER_BYTES` of an image say; undefined for anything else, such as a raw volume. */
export function parseImageContent(header: Buffer): ImageContent | undefined {
  if (header.length < HEADER_BYTES) return undefined;
  if (header.toString("latin1", 0, 4) === XFS_MAGIC) {
    const sizeBytes = header.readUInt32BE(4) * Number(header.readBigUInt64BE(8));
    return { fsType: "xfs", sizeBytes, clean: false };
  }
  if (header.toString("latin1", BTRFS_AT + 64, BTRFS_AT + 72) === BTRFS_MAGIC) {
    const sizeBytes = Number(header.readBigUInt64LE(BTRFS_AT + 112));
    return { fsType: "btrfs", sizeBytes, clean: header.readBigUInt64LE(BTRFS_AT + BTRFS_LOG_ROOT) === 0n };
  }
  return parseExt4(header.subarray(EXT4_AT));
}

function parseExt4(superblock: Buffer): ImageContent | undefined {
  if (superblock.readUInt16LE(56) !== EXT4_MAGIC) return undefined;
  const blockSize = 1024 << superblock.readUInt32LE(24);
  const blocks = superblock.readUInt32LE(4) + superblock.readUInt32LE(0x150) * 2 ** 32;
  const state = superblock.readUInt16LE(58);
  const needsRecovery = (superblock.readUInt32LE(96) & EXT4_NEEDS_RECOVERY) !== 0;
  const clean = (state & EXT4_VALID) !== 0 && (state & EXT4_ERROR) === 0 && !needsRecovery;
  return { fsType: "ext4", sizeBytes: blocks * blockSize, clean };
}
