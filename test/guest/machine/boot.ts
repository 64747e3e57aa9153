/** Boots a guest under emulation, passes on what its tests say line by line, and ends or kills it. */
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { GuestImages } from "./image.ts";
import { guestDirectory, type Kernel } from "./parts.ts";

/** A disk of the guest: `/dev/vdb`, `/dev/vdc` and so on, in this order. */
export interface GuestDisk {
  readonly path: string;
  readonly readOnly?: boolean;
}

/** What to boot. */
export interface BootOptions {
  readonly kernel: Kernel;
  readonly images: GuestImages;
  readonly disks: readonly GuestDisk[];
  /** What `inside/main.ts` is to run. */
  readonly job: string;
  readonly deadlineMs: number;
  /** Each line that the tests write. */
  onLine(line: string): void;
}

/** A guest that runs. */
export interface Guest {
  /** How it ended: by itself, by `cut`, or because the deadline passed. */
  readonly ended: Promise<"itself" | "cut" | "deadline">;
  /** Takes its power away: what it had not given to its disks is lost. */
  cut(): void;
}

/** Starts it. */
export function boot({ kernel, images, disks, job, deadlineMs, onLine }: BootOptions): Guest {
  const drives = [
    // Nothing that one boot does to the root disk is seen by the next.
    drive(images.root, "snapshot=on", "unsafe"),
    ...disks.map(({ path, readOnly }) => drive(path, readOnly ? "readonly=on" : "snapshot=off")),
  ];
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"],
      ...["-display", "none", "-no-reboot", "-nodefaults", "-monitor", "none"],
      ...["-kernel", kernel.image, "-initrd", images.initramfs],
      ...["-append", `console=ttyS0 panic=-1 loglevel=7 trivet.job=${job}`],
      // What the guest's kernel says: of the last boot with these disks.
      ...["-serial", `file:${disks[0]?.path ?? join(guestDirectory, "guest")}.console`, "-serial", "stdio"],
      ...drives.flat(),
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let reason: "itself" | "cut" | "deadline" = "itself";
  const end = (why: "cut" | "deadline") => {
    reason = why;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(() => end("deadline"), deadlineMs);
  child.stderr.pipe(createWriteStream(`${disks[0]?.path ?? join(guestDirectory, "guest")}.qemu`));
  const lines = createInterface({ input: child.stdout });
  lines.on("line", onLine);
  const ended = new Promise<"itself" | "cut" | "deadline">((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      resolve(reason);
    });
  });
  return { ended, cut: () => end("cut") };
}

/**
 * `directsync` passes each flush of the guest on and keeps nothing back, so that killing qemu loses what a power cut
 * loses: everything that is still in the guest's own memory, and nothing that its disk has confirmed.
 */
function drive(path: string, access: string, cache = "directsync"): string[] {
  return ["-drive", `file=${path},format=raw,if=virtio,cache=${cache},aio=threads,${access}`];
}
