/** Builds the two things that a guest boots from: an initramfs that finds the root disk, and that disk. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Kernel, librariesOf, moduleFiles, productionPackages, projectRoot, run } from "./parts.ts";
import { runDirectory } from "./run-directory.ts";

/** Paths of what `buildImages` made. */
export interface GuestImages {
  readonly initramfs: string;
  readonly root: string;
}

const modules = ["virtio_pci", "virtio_blk", "xfs", "quota_v2", "loop", "btrfs"];
const ROOT_MIB = 512;

const initScript = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "cannot load $module"; done
mount -t ext4 /dev/vda /root || poweroff -f
mount --move /dev /root/dev
exec switch_root /root /sbin/init
`;

// The first serial line is the kernel's, the second carries nothing but what the tests say.
const rootInitScript = `#!/bin/busybox sh
export PATH=/bin:/sbin HOME=/root LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount --make-rshared /
ip link set lo up
ulimit -c 0
# With its handler for WebAssembly, a Node.js that dies of a bad address dies unnamed: the kernel is to say where it was.
export NODE_OPTIONS=--disable-wasm-trap-handler
export NODE_COMPILE_CACHE=/cache
stty -F /dev/ttyS1 raw -echo 115200
cd /trivet
node --disable-warning=ExperimentalWarning test/guest/inside/main.ts >/dev/ttyS1 2>&1 </dev/null
sync
poweroff -f
`;

/** Makes both anew from the checkout as it is. */
export function buildImages(kernel: Kernel): GuestImages {
  const images = {
    initramfs: join(runDirectory, "initramfs.img"),
    root: join(runDirectory, "root.img"),
  };
  buildInitramfs(kernel, images.initramfs);
  buildRoot(images.root);
  return images;
}

function buildInitramfs(kernel: Kernel, target: string): void {
  const tree = join(runDirectory, "initramfs");
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(join(tree, "bin"), { recursive: true });
  mkdirSync(join(tree, "modules"));
  copyFileSync("/bin/busybox", join(tree, "bin/busybox"));
  const files = moduleFiles(kernel, modules);
  for (const file of files) copyFileSync(file, join(tree, "modules", basename(file)));
  writeFileSync(join(tree, "modules/order"), files.map((file) => `${basename(file)}\n`).join(""));
  writeScript(join(tree, "init"), initScript);
  const names = ["init", "bin", "bin/busybox", "modules"];
  names.push(...readdirSync(join(tree, "modules")).map((name) => `modules/${name}`));
  const archive = execFileSync("/bin/busybox", ["cpio", "-o", "-H", "newc"], {
    ...{ cwd: tree, input: names.join("\n"), maxBuffer: 1 << 28, stdio: ["pipe", "pipe", "ignore"] },
  });
  writeFileSync(target, archive);
  rmSync(tree, { recursive: true });
}

function buildRoot(target: string): void {
  const tree = join(runDirectory, "root");
  rmSync(tree, { recursive: true, force: true });
  for (const name of [
    "bin",
    "sbin",
    "etc",
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "mnt",
    "root",
    "var/lib",
    "trivet",
  ])
    mkdirSync(join(tree, name), { recursive: true });
  copyFileSync("/bin/busybox", join(tree, "bin/busybox"));
  for (const name of ["sh", "mount", "umount", "ip", "stty", "sync", "poweroff", "ulimit"])
    symlinkSync("busybox", join(tree, "bin", name));
  const node = realpathSync(join(projectRoot, "node_modules/.bin/node"));
  copyFileSync(node, join(tree, "bin/node"));
  chmodSync(join(tree, "bin/node"), 0o755);
  for (const library of librariesOf(node)) {
    mkdirSync(join(tree, dirname(library)), { recursive: true });
    copyFileSync(library, join(tree, library));
  }
  for (const name of ["src", "proto", "test", "package.json"]) {
    cpSync(join(projectRoot, name), join(tree, "trivet", name), { recursive: true });
  }
  for (const path of productionPackages()) {
    cpSync(join(projectRoot, path), join(tree, "trivet", path), { recursive: true });
  }
  writeFileSync(join(tree, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n");
  warmUp(tree);
  writeScript(join(tree, "sbin/init"), rootInitScript);
  rmSync(target, { force: true });
  run("mke2fs", ["-q", "-t", "ext4", "-F", "-O", "^has_journal", "-d", tree, target, `${ROOT_MIB}M`]);
  rmSync(tree, { recursive: true });
}

/** Compiles here what would take an emulated processor most of its boot; the cache goes by path, hence the chroot. */
function warmUp(tree: string): void {
  const paths = ["quota-contract", "quota-volumes", "driver", "../power/round", "../../../src/commands/node"];
  const code = paths.map((path) => `await import("/trivet/test/guest/inside/${path}.ts");`).join("");
  const environment = ["NODE_COMPILE_CACHE=/cache", "NODE_OPTIONS=--disable-wasm-trap-handler"];
  const node = ["/bin/busybox", "env", ...environment, "/bin/node", "--input-type=module", "-e", code];
  // Without it the guest is slower, and no more than that: what cannot be imported, it will say itself.
  spawnSync("chroot", [tree, ...node], { stdio: "ignore" });
}

function writeScript(path: string, content: string): void {
  writeFileSync(path, content);
  chmodSync(path, 0o755);
}
