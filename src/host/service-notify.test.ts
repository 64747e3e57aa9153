import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createServiceNotifier } from "./service-notify.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-notify-"));
});
afterEach(() => rm(directory, { recursive: true }));

/** Stands for systemd-notify: writes what it was told to a file. */
async function program(end: string): Promise<Record<string, string>> {
  const path = join(directory, "systemd-notify");
  await writeFile(path, `#!/bin/sh\nprintf '%s\\n' "$NOTIFY_SOCKET" "$@" >${directory}/told\n${end}\n`);
  await chmod(path, 0o755);
  return { PATH: `${directory}:/usr/bin:/bin`, NOTIFY_SOCKET: "/run/notify" };
}

describe("the service manager", () => {
  it("is told each assignment, to the socket that it named", async () => {
    await createServiceNotifier(await program("exit 0"))({
      READY: 1,
      MAINPID: 42,
      STATUS: "serving /a b.sock",
    });
    expect((await readFile(join(directory, "told"), "utf8")).split("\n")).toEqual([
      ...["/run/notify", "READY=1", "MAINPID=42", "STATUS=serving /a b.sock", ""],
    ]);
  });

  it("is told nothing where there is none", async () => {
    const { PATH = "" } = await program("exit 0");
    await createServiceNotifier({ PATH })({ READY: 1 });
    await expect(readFile(join(directory, "told"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it.each([
    ["that refuses", "echo No socket >&2; exit 1", "systemd cannot be told READY=1: No socket"],
    ["that says nothing", "exit 1", "systemd cannot be told READY=1: Command failed"],
  ])("%s is an error", async (_, end, message) => {
    const told = createServiceNotifier(await program(end))({ READY: 1 });
    await expect(told).rejects.toMatchObject({ kind: "io", message: expect.stringContaining(message) });
  });

  it("whose program is missing is an error that names it", async () => {
    const told = createServiceNotifier({ PATH: directory, NOTIFY_SOCKET: "/run/notify" })({ READY: 1 });
    await expect(told).rejects.toThrow("spawn systemd-notify ENOENT");
  });
});
