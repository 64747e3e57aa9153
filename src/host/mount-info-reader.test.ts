import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMountInfoReader } from "./mount-info-reader.ts";

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-mountinfo-"));
  path = join(directory, "mountinfo");
});

afterEach(() => rm(directory, { recursive: true }));

test("a table that is larger than the buffer is read whole, and so is a smaller one after it", async () => {
  const read = createMountInfoReader(path);
  const large = "1 2 3:4 / /mount rw - ext4 /dev/x rw\n".repeat(5_000);
  await writeFile(path, large);
  expect(await read()).toBe(large);
  await writeFile(path, "short\n");
  expect(await read()).toBe("short\n");
});

test("whoever asks while a read is on gets one that began after the question, shared with the others", async () => {
  await writeFile(path, "old\n");
  const read = createMountInfoReader(path);
  await read();
  const first = read();
  writeFileSync(path, "new\n");
  const [second, third] = [read(), read()];
  expect(second).toBe(third);
  expect(await second).toBe("new\n");
  await first;
  expect(await read()).toBe("new\n");
});

test("a file that is missing is an error each time, until it is there", async () => {
  const read = createMountInfoReader(path);
  await expect(Promise.all([read(), read()])).rejects.toMatchObject({ code: "ENOENT" });
  await writeFile(path, "there\n");
  expect(await read()).toBe("there\n");
});
