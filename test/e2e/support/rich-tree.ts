/** A tree with one of everything that a file system can hold, for copies to be compared with. Needs root. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import type { Syscalls } from "../../../src/host/syscall.ts";

const MIB = 2 ** 20;
const run = (program: string, ...args: string[]) => execFileSync(program, args, { stdio: "pipe" });

/** An access list for user 1234 beside the owner's: version, then tag, permissions and id of each entry. */
function accessList(): Buffer {
  const undefinedId = 0xffff_ffff;
  const entries = [
    [0x01, 7, undefinedId],
    [0x02, 5, 1234],
    [0x04, 4, undefinedId],
    [0x10, 5, undefinedId],
    [0x20, 0, undefinedId],
  ] as const;
  const buffer = Buffer.alloc(4 + 8 * entries.length);
  buffer.writeUInt32LE(2, 0);
  for (const [index, [tag, permissions, id]] of entries.entries()) {
    buffer.writeUInt16LE(tag, 4 + 8 * index);
    buffer.writeUInt16LE(permissions, 6 + 8 * index);
    buffer.writeUInt32LE(id, 8 + 8 * index);
  }
  return buffer;
}

/** cap_net_bind_service, permitted and effective (struct vfs_cap_data, version 2). */
const capability = Buffer.from("0100000200040000000000000000000000000000", "hex");

/** Everything that a tree can hold. */
export async function fillTree(syscalls: Pick<Syscalls, "setXattr">, root: string): Promise<void> {
  const at = (name: string) => `${root}/${name}`;
  mkdirSync(at("dir/deep"), { recursive: true });
  writeFileSync(at("plain"), "plain content");
  writeFileSync(at("large"), Buffer.alloc(9 * MIB, "0123456789abcdef"));
  writeFileSync(at("n\u00e4me \n with everything"), "x");
  writeFileSync(at("dir/first"), "linked");
  linkSync(at("dir/first"), at("dir/deep/second"));
  linkSync(at("dir/first"), at("third"));
  symlinkSync("/etc/passwd", at("absolute"));
  symlinkSync("nowhere/at/all", at("dangling"));
  linkSync(at("dangling"), at("dangling twice"));
  run("mkfifo", at("pipe"));
  run("mknod", at("null"), "c", "1", "3");
  run("mknod", at("whiteout"), "c", "0", "0");
  run(
    "perl",
    "-MSocket",
    "-e",
    "socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un(shift)) or die $!",
    at("socket"),
  );
  const sparse = openSync(at("sparse"), "w");
  writeSync(sparse, "begin", 0);
  writeSync(sparse, "middle", 8 * MIB);
  ftruncateSync(sparse, 16 * MIB);
  closeSync(sparse);
  writeFileSync(at("setuid"), "#!");
  chownSync(at("setuid"), 1, 2);
  chmodSync(at("setuid"), 0o6751);
  writeFileSync(at("capable"), "#!");
  chownSync(at("capable"), 1000, 1000);
  await syscalls.setXattr(Buffer.from(at("capable")), "security.capability", capability);
  await syscalls.setXattr(Buffer.from(at("plain")), "system.posix_acl_access", accessList());
  await syscalls.setXattr(Buffer.from(at("dir")), "system.posix_acl_default", accessList());
  await syscalls.setXattr(Buffer.from(at("plain")), "user.comment", Buffer.from([0, 1, 2]));
  await syscalls.setXattr(Buffer.from(at("dir")), "user.empty", Buffer.alloc(0));
  await syscalls.setXattr(Buffer.from(at("plain")), "user.long", Buffer.alloc(3_000, 7));
  chownSync(at("dir"), 5, 6);
  chmodSync(at("dir"), 0o3775);
  chmodSync(at("pipe"), 0o622);
  await syscalls.setXattr(Buffer.from(at("pipe")), "system.posix_acl_access", accessList());
  for (const name of ["plain", "absolute", "pipe", "dir/deep", "dir", ""]) {
    run("touch", "-h", "-d", "2001-02-03 04:05:06.123456789", at(name));
  }
  lutimesSync(at("large"), 1, -1.5);
}
