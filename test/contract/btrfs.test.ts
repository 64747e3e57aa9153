import { describe, test } from "vitest";
import { createFakeBtrfs } from "../fakes/btrfs.ts";
import { createFakeFiles } from "../fakes/files.ts";
import { btrfsContract } from "./btrfs.ts";

describe("the fake btrfs keeps the contract that a real one keeps", () => {
  test.each(btrfsContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/pool"] });
    await run({ btrfs: createFakeBtrfs(files), files, root: "/pool" });
  });
});
