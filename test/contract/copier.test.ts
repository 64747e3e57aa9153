import { describe, test } from "vitest";
import { createFakeCopier } from "../fakes/copier.ts";
import { createFakeFiles } from "../fakes/files.ts";
import { copierContract } from "./copier.ts";

describe("the fake copier keeps the contract", () => {
  test.each(copierContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/work"] });
    await run({ copier: createFakeCopier(files), files, root: "/work" });
  });
});
