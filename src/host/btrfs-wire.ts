/** The structures of btrfs's ioctl requests (linux/btrfs.h, linux/btrfs_tree.h). Pure: bytes in, values out. */

/** Requests that are used; the size of the structure is part of the number. */
export const request = {
  treeSearch: 0xd0009411,
  startSync: 0x80089418,
  waitSync: 0x40089416,
  snapshot: 0x50009417,
  createSubvolume: 0x50009418,
  destroySubvolume: 0x5000943f,
  quotaControl: 0xc0109428,
  changeQgroup: 0x4010942a,
  limitQgroup: 0x8030942b,
  rescan: 0x4040942c,
  subvolumeInfo: 0x81f8943c,
} as const;

/** Trees that are searched. */
export const tree = { roots: 1n, quota: 8n } as const;
/** Types of items in them. */
export const item = {
  rootItem: 132,
  rootRef: 156,
  qgroupStatus: 240,
  qgroupInfo: 242,
  qgroupLimit: 244,
} as const;

const little = true;
const READ_ONLY = 2n;
const SPEC_BY_ID = 16n;
const LIMIT_REFERENCED = 1n;
/** Clears a limit that was set. */
const NO_LIMIT = 0xffff_ffff_ffff_ffffn;
const ANY = 0xffff_ffff_ffff_ffffn;
const NAME_AT = 56;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** struct btrfs_ioctl_vol_args_v2 that names a new subvolume; for a snapshot `source` is a descriptor of what is shown. */
export function volumeArguments(name: string, source = 0, readOnly = false): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = viewOf(bytes);
  view.setBigInt64(0, BigInt(source), little);
  view.setBigUint64(16, readOnly ? READ_ONLY : 0n, little);
  bytes.set(Buffer.from(name), NAME_AT);
  return bytes;
}

/** The same that names a subvolume by its id. */
export function destroyArguments(id: bigint): Uint8Array {
  const bytes = new Uint8Array(4096);
  viewOf(bytes).setBigUint64(16, SPEC_BY_ID, little);
  viewOf(bytes).setBigUint64(NAME_AT, id, little);
  return bytes;
}

/** struct btrfs_ioctl_qgroup_limit_args; `undefined` takes the limit away. */
export function limitArguments(id: bigint, bytesReferenced: bigint | undefined): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = viewOf(bytes);
  view.setBigUint64(0, id, little);
  view.setBigUint64(8, LIMIT_REFERENCED, little);
  view.setBigUint64(16, bytesReferenced ?? NO_LIMIT, little);
  return bytes;
}

/** Two numbers: struct btrfs_ioctl_qgroup_create_args, struct btrfs_ioctl_quota_ctl_args. */
export function pair(first: bigint, second: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  viewOf(bytes).setBigUint64(0, first, little);
  viewOf(bytes).setBigUint64(8, second, little);
  return bytes;
}

/** One number, such as the id of a transaction. */
export function readNumber(bytes: Uint8Array, at = 0): bigint {
  return viewOf(bytes).getBigUint64(at, little);
}

/** What is searched: items of one type that belong to one object, in one tree. */
export interface SearchKey {
  readonly tree: bigint;
  readonly object: bigint;
  readonly type: number;
  readonly offsets: readonly [least: bigint, most: bigint];
}

/** One item of a tree. */
export interface TreeItem {
  readonly offset: bigint;
  readonly data: DataView;
}

const KEY_BYTES = 104;
const HEADER_BYTES = 32;
/** No more fit into the answer anyway. */
const MOST_ITEMS = 1024;

/** struct btrfs_ioctl_search_args. */
export function searchArguments({ tree: id, object, type, offsets }: SearchKey): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = viewOf(bytes);
  const numbers = [id, object, object, ...offsets, 0n, ANY];
  for (const [index, value] of numbers.entries()) view.setBigUint64(index * 8, value, little);
  view.setUint32(56, type, little);
  view.setUint32(60, type, little);
  view.setUint32(64, MOST_ITEMS, little);
  return bytes;
}

/** The items that the kernel wrote into the arguments; it may have had no room for all. */
export function readItems(bytes: Uint8Array): TreeItem[] {
  const view = viewOf(bytes);
  const count = view.getUint32(64, little);
  const items: TreeItem[] = [];
  let at = KEY_BYTES;
  for (let index = 0; index < count; index++) {
    const length = view.getUint32(at + 28, little);
    items.push({
      offset: view.getBigUint64(at + 16, little),
      data: new DataView(bytes.buffer, bytes.byteOffset + at + HEADER_BYTES, length),
    });
    at += HEADER_BYTES + length;
  }
  return items;
}
