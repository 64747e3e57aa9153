/**
 * An OCI image made by hand from one static busybox: a layer with the program and a link for each applet, written
 * with a small ustar writer of our own. Nothing is downloaded, and the same busybox gives the same image.
 */
import { readFile } from "node:fs/promises";
import { type OciImage, plainLayer, type StoredLayer, writeOciArchive } from "../../../hack/image/oci.ts";
import { TarWriter } from "./tar.ts";

/** The image's names in containerd: one for containers, one for sandboxes. */
export const busyboxImage = "trivet.local/busybox:1";
export const pauseImage = "trivet.local/pause:1";

export const busyboxPath = "/bin/busybox";

/** Applets that get a link of their own in /bin. */
const applets =
  "sh ash echo cat env printenv ip ping wget nc nslookup hostname sleep true false ls df mount umount stat id ps kill " +
  "touch mkdir rmdir rm cp mv ln chmod chown dd head tail wc grep sed awk cut sort tr seq test date sync du find " +
  "expr printf tee xargs vi time timeout route ifconfig netstat httpd readlink basename dirname uname";

function layer(busybox: Buffer): Buffer {
  const tar = new TarWriter();
  for (const directory of ["bin", "dev", "etc", "proc", "sys", "tmp", "var"]) {
    tar.directory(`${directory}/`, directory === "tmp" ? 0o1777 : 0o755);
  }
  tar.file("bin/busybox", busybox, 0o755);
  for (const applet of applets.split(" ")) tar.symlink(`bin/${applet}`, "busybox");
  tar.file(
    "etc/passwd",
    Buffer.from("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
  );
  tar.file("etc/group", Buffer.from("root:x:0:\nnobody:x:65534:\n"));
  return tar.end();
}

/** One image of the layer. */
function image(rootfs: StoredLayer, name: string, command: readonly string[]): OciImage {
  const config = { Env: ["PATH=/bin"], Entrypoint: command, WorkingDir: "/" };
  return { name, layers: [rootfs], config, history: [name] };
}

export interface BusyboxImageOptions {
  /** A statically linked busybox; default: Debian's busybox-static. */
  readonly busybox?: string;
}

/**
 * Writes an OCI image archive with both images to `tarPath`, for `ctr images import`. Throws where busybox is
 * missing or dynamically linked, since no container could run it then.
 */
export async function makeBusyboxImage(
  tarPath: string,
  { busybox = busyboxPath }: BusyboxImageOptions = {},
): Promise<void> {
  const program = await readFile(busybox).catch((cause: unknown) => {
    throw new Error(`${busybox} cannot be read: install the package busybox-static`, { cause });
  });
  if (program.subarray(0, 5).toString("latin1") !== ELF64)
    throw new Error(`${busybox} is no 64-bit ELF program`);
  if (isDynamic(program)) {
    throw new Error(`${busybox} is linked dynamically: install the package busybox-static`);
  }
  const rootfs = plainLayer(layer(program));
  await writeOciArchive(tarPath, [
    image(rootfs, busyboxImage, ["sh"]),
    image(rootfs, pauseImage, ["sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"]),
  ]);
}

/** The magic number, and the class that says 64 bits. */
const ELF64 = "\x7fELF\x02";
const PT_INTERP = 3;

/** Whether an ELF program asks for a dynamic loader. */
function isDynamic(program: Buffer): boolean {
  const offset = Number(program.readBigUInt64LE(32));
  const size = program.readUInt16LE(54);
  const count = program.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => program.readUInt32LE(offset + index * size)).includes(
    PT_INTERP,
  );
}
