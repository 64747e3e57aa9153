import { describe, test } from "vitest";
import { createFakeFiles } from "../fakes/files.ts";
import { createFakeMounts } from "../fakes/mount.ts";
import { mountsContract } from "./mount.ts";

describe("the fake mount table keeps the contract", () => {
  test.each(mountsContract)("$title", async ({ run }) => {
    const [source, target, second] = ["/pool/source", "/pods/target", "/pods/second"];
    const files = createFakeFiles({ directories: [source, target, second] });
    const [file, otherFile] = ["/pool/file", "/pods/file"];
    for (const path of [file, otherFile]) await files.create(path, Buffer.from(path), 0o600);
    const mounts = createFakeMounts({ files, busy: files });
    await run({ mounts, source, target, second, none: "/pods/none", file, otherFile });
  });
});
