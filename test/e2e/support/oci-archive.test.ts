import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createExec } from "../../../src/host/exec.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { busyboxImage, makeBusyboxImage, pauseImage } from "./oci-archive.ts";
import { TarWriter } from "./tar.ts";

const exec = createExec("/usr/bin:/bin", createSyscalls());
const run = (...argv: [string, ...string[]]) => exec(argv, { timeoutMs: 10_000 });

let directory: string;
let archive: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-oci-"));
  archive = join(directory, "image.tar");
  await makeBusyboxImage(archive);
});

afterAll(() => rm(directory, { recursive: true }));

const readEntry = async (name: string) => (await run("tar", "-xOf", archive, name)).stdout;

describe("the image archive", () => {
  it("has both images by name, and every blob under its own digest", async () => {
    const index = JSON.parse(await readEntry("index.json"));
    const names = index.manifests.map(
      ({ annotations }: { annotations: Record<string, string> }) => annotations["io.containerd.image.name"],
    );
    expect(names).toEqual([busyboxImage, pauseImage]);
    const { stdout } = await run("tar", "-tf", archive);
    const blobs = stdout.split("\n").filter((name) => /^blobs\/sha256\/./.test(name));
    expect(blobs).toHaveLength(5);
    await run("tar", "-xf", archive, "-C", directory);
    for (const name of blobs) {
      const sum = (await run("sha256sum", join(directory, name))).stdout.split(" ")[0];
      expect(`blobs/sha256/${sum}`).toBe(name);
    }
  });

  it("has a layer with busybox, its applets as links, and a /tmp for everybody", async () => {
    const index = JSON.parse(await readEntry("index.json"));
    const blob = (digest: string) => `blobs/${digest.replace(":", "/")}`;
    const manifest = JSON.parse(await readEntry(blob(index.manifests[0].digest)));
    await run("tar", "-xf", archive, "-C", directory);
    const { stdout } = await run("tar", "-tvf", join(directory, blob(manifest.layers[0].digest)));
    expect(stdout).toMatch(/^-rwxr-xr-x 0\/0 +\d+ .* bin\/busybox$/m);
    expect(stdout).toMatch(/^lrwxrwxrwx 0\/0 .* bin\/sh -> busybox$/m);
    expect(stdout).toMatch(/^drwxrwxrwt 0\/0 .* tmp\/$/m);
  });

  it("is the same for the same busybox", async () => {
    const again = join(directory, "again.tar");
    await makeBusyboxImage(again);
    expect((await readFile(again)).equals(await readFile(archive))).toBe(true);
  });

  it.each([
    ["/bin/ls", "/bin/ls is linked dynamically: install the package busybox-static"],
    ["/no/busybox", "/no/busybox cannot be read: install the package busybox-static"],
    ["/etc/passwd", "/etc/passwd is no 64-bit ELF program"],
  ])("is not made of %s", async (busybox, message) => {
    await expect(makeBusyboxImage(join(directory, "no.tar"), { busybox })).rejects.toThrow(message);
  });
});

describe("the tar writer", () => {
  it("refuses a name that the header cannot hold, rather than cutting it", () => {
    expect(() => new TarWriter().file("x".repeat(101), Buffer.alloc(0))).toThrow("too long for a tar header");
  });
});
