/** Boots a guest under emulation, passes on what its tests say line by line, and ends or kills it. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { GuestImages } from "./image.ts";
import type { Kernel } from "./parts.ts";
import { runDirectory } from "./run-directory.ts";

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
  /** What its kernel said of crashed programs and broken disks, and the emulator of itself; empty where all was well. */
  complaints(): string;
}

const complaint =
  /segfault at|general protection|traps: |Killed process|BUG: |Oops|panic|I\/O error|corrupt|shut ?down|EXT4-fs error|blocked for/i;

/** Starts it. */
export function boot({ kernel, images, disks, job, deadlineMs, onLine }: BootOptions): Guest {
  const drives = [
    // Nothing that one boot does to the root disk is seen by the next.
    drive(images.root, "snapshot=on", "unsafe"),
    ...disks.map(({ path, readOnly }) => drive(path, readOnly ? "readonly=on" : "snapshot=off")),
  ];
  // What the guest's kernel says: of the last boot of this job.
  const consolePath = join(runDirectory, `${job}.console`);
  const child = spawn(
    "setpriv",
    [
      // However this process ends, no guest outlives it.
      ...["--pdeathsig", "KILL", "--", "qemu-system-x86_64"],
      // One processor of an old model. With two of "max" a Node.js in the guest crashed in some four of thirty boots, and
      // never outside of a guest; QEMU 7.2 is the first to emulate AVX. What of it was the cause is not known.
      ...["-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", "1024"],
      ...["-display", "none", "-no-reboot", "-nodefaults", "-monitor", "none"],
      ...["-kernel", kernel.image, "-initrd", images.initramfs],
      ...["-append", `console=ttyS0 panic=-1 loglevel=7 trivet.job=${job}`],
      ...["-serial", `file:${consolePath}`, "-serial", "stdio"],
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
  let emulator = "";
  child.stderr.on("data", (chunk: Buffer) => {
    emulator += chunk.toString();
  });
  const lines = createInterface({ input: child.stdout });
  lines.on("line", onLine);
  const ended = new Promise<"itself" | "cut" | "deadline">((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      resolve(reason);
    });
  });
  const complaints = () => {
    const said = readFileSync(consolePath, { encoding: "utf8", flag: "a+" }).split("\n");
    return [...said.filter((line) => complaint.test(line)), ...emulator.split("\n")]
      .filter(Boolean)
      .join(" | ");
  };
  return { ended, cut: () => end("cut"), complaints };
}

/**
 * `directsync` passes each flush of the guest on and keeps nothing back, so that killing qemu loses what a power cut
 * loses: everything that is still in the guest's own memory, and nothing that its disk has confirmed.
 */
function drive(path: string, access: string, cache = "directsync"): string[] {
  return ["-drive", `file=${path},format=raw,if=virtio,cache=${cache},aio=threads,${access}`];
}
