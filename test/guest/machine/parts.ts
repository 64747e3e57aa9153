/** What a guest is built from: programs, Debian's cloud kernel, and the pinned Node.js with the project's sources. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/** The checkout. */
export const projectRoot = join(import.meta.dirname, "../../..");
/** Built and downloaded things; git ignores it. */
export const guestDirectory = join(projectRoot, "dist", "guest");

/** Why there can be no guest here: the tests of the guest are then not run, which is not passed. */
export class NoGuest extends Error {}

/** Programs that are needed, each with the Debian package that has it. */
const programs: Readonly<Record<string, string>> = {
  "qemu-system-x86_64": "qemu-system-x86",
  "mkfs.xfs": "xfsprogs",
  "mkfs.ext4": "e2fsprogs",
  mke2fs: "e2fsprogs",
  depmod: "kmod",
  modprobe: "kmod",
  "dpkg-deb": "dpkg",
  ldd: "libc-bin",
  setpriv: "util-linux",
};

/** Throws `NoGuest` unless everything is there that building and booting take. */
export function requirePrograms(): void {
  if (process.arch !== "x64") throw new NoGuest(`the guest is built for x64 only, this is ${process.arch}`);
  const directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  const lacks = Object.entries(programs).filter(
    ([program]) => !directories.some((directory) => existsSync(join(directory, program))),
  );
  if (!existsSync("/bin/busybox")) lacks.push(["busybox", "busybox-static"]);
  if (lacks.length === 0) return;
  const packages = [...new Set(lacks.map(([, name]) => name))].join(" ");
  throw new NoGuest(`missing: apt-get install --no-install-recommends ${packages}`);
}

/** Runs a program and gives its output; `NoGuest` names what it said where it fails. */
export function run(program: string, args: readonly string[], cwd?: string): string {
  try {
    return execFileSync(program, args, {
      ...{ encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26 },
      ...(cwd === undefined ? {} : { cwd }),
    });
  } catch (error) {
    const said = String((error as { stderr?: unknown }).stderr ?? error).trim();
    throw new NoGuest(`"${program} ${args.join(" ")}" failed: ${said}`);
  }
}

/** An unpacked kernel package. */
export interface Kernel {
  readonly release: string;
  readonly image: string;
  /** The directory that has `lib/modules`. */
  readonly base: string;
}

/** Debian's kernel for clouds: small, with XFS, ext4 and both of their project quotas. Downloaded once. */
export function findKernel(): Kernel {
  const unpacked = join(guestDirectory, "kernel");
  if (!existsSync(unpacked)) {
    const depends = run("apt-cache", ["depends", "linux-image-cloud-amd64"]);
    const name = /Depends: (linux-image-[\w.+-]+-cloud-amd64)\s/.exec(depends)?.[1];
    if (!name) throw new NoGuest("apt knows no linux-image-cloud-amd64");
    const download = join(guestDirectory, "download");
    rmSync(download, { recursive: true, force: true });
    mkdirSync(download, { recursive: true });
    run("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", name], download);
    const [archive] = readdirSync(download);
    if (!archive) throw new NoGuest(`apt-get download ${name} left no file`);
    run("dpkg-deb", ["-x", join(download, archive), join(download, "tree")]);
    renameSync(join(download, "tree"), unpacked);
    rmSync(download, { recursive: true, force: true });
  }
  const image = readdirSync(join(unpacked, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (!image) throw new NoGuest(`${unpacked} holds no kernel: remove it`);
  const release = image.slice("vmlinuz-".length);
  if (!existsSync(join(unpacked, "lib/modules", release, "modules.dep")))
    run("depmod", ["-b", unpacked, release]);
  return { release, image: join(unpacked, "boot", image), base: unpacked };
}

/** The files of these modules and of all that they need, in the order in which they must be loaded. */
export function moduleFiles({ base, release }: Kernel, modules: readonly string[]): string[] {
  const lines = modules.flatMap((module) =>
    run("modprobe", ["-d", base, "-S", release, "--show-depends", module]).split("\n"),
  );
  return [...new Set(lines.flatMap((line) => /^insmod (\S+)/.exec(line)?.[1] ?? []))];
}

/** Shared libraries that a program loads, with the loader itself. */
export function librariesOf(program: string): string[] {
  const lines = run("ldd", [program]).split("\n");
  return lines.flatMap((line) => /(\/[^\s]+)\s\(0x/.exec(line)?.[1] ?? []);
}

/** The packages in `node_modules` that the program needs when it runs, and what those need. */
export function productionPackages(): string[] {
  const lock = JSON.parse(readFileSync(join(projectRoot, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => path.startsWith("node_modules/") && dev !== true)
    .map(([path]) => path)
    .filter((path) => !/node-linux-/.test(path) && existsSync(join(projectRoot, path)))
    .filter((path) => path.lastIndexOf("node_modules/") === 0);
}
