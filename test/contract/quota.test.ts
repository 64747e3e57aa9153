import { describe, test } from "vitest";
import { createFakeFiles } from "../fakes/files.ts";
import { createFakeProjectQuota } from "../fakes/quota.ts";
import { quotaContract } from "./quota.ts";

describe("the fake project quotas keep the contract that real XFS and ext4 keep in the guest", () => {
  test.each(quotaContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/pool"] });
    const quota = createFakeProjectQuota(files);
    const symlink = async (target: string, path: string) => files.symlink(target, path);
    await run({ quota, files, root: "/pool", id: 7, symlink });
  });
});
