import { describe, expect, test } from "vitest";
import { HEADER_BYTES, parseImageContent } from "./image-content.ts";

const MIB = 2 ** 20;

function ext4({ state = 1, incompat = 0, blocks = 16_384, high = 0, magic = 0xef53 } = {}): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(blocks, 1024 + 4);
  header.writeUInt32LE(2, 1024 + 24); // blocks of 4 KiB
  header.writeUInt16LE(magic, 1024 + 56);
  header.writeUInt16LE(state, 1024 + 58);
  header.writeUInt32LE(incompat, 1024 + 96);
  header.writeUInt32LE(high, 1024 + 0x150);
  return header;
}

function xfs(): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("XFSB");
  header.writeUInt32BE(4096, 4);
  header.writeBigUInt64BE(76_800n, 8);
  return header;
}

function btrfs(logRoot: bigint): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("_BHRfS_M", 65_536 + 64);
  header.writeBigUInt64LE(logRoot, 65_536 + 96);
  header.writeBigUInt64LE(BigInt(256 * MIB), 65_536 + 112);
  return header;
}

describe("parseImageContent", () => {
  test.each([
    ["ext4 that was unmounted properly", ext4(), { fsType: "ext4", sizeBytes: 64 * MIB, clean: true }],
    ["ext4 beyond 16 TiB", ext4({ blocks: 0, high: 1 }), { fsType: "ext4", sizeBytes: 2 ** 44, clean: true }],
    ["ext4 with a journal to replay", ext4({ incompat: 4 }), { clean: false }],
    ["ext4 that met errors", ext4({ state: 3 }), { clean: false }],
    ["ext4 that is being used", ext4({ state: 0 }), { clean: false }],
    ["xfs, of which the log alone knows", xfs(), { fsType: "xfs", sizeBytes: 300 * MIB, clean: false }],
    ["btrfs", btrfs(0n), { fsType: "btrfs", sizeBytes: 256 * MIB, clean: true }],
    ["btrfs with a log to replay", btrfs(4096n), { fsType: "btrfs", clean: false }],
  ])("reads %s", (_, header, expected) => {
    expect(parseImageContent(header)).toMatchObject(expected);
  });

  test.each([
    ["zeroes, as of a raw volume", Buffer.alloc(HEADER_BYTES)],
    ["something else", ext4({ magic: 0xef54 })],
    ["a file that is too short", ext4().subarray(0, HEADER_BYTES - 1)],
    ["nothing", Buffer.alloc(0)],
  ])("finds no file system in %s", (_, header) => {
    expect(parseImageContent(header)).toBeUndefined();
  });
});
