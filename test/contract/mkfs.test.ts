import { describe, test } from "vitest";
import { createFakeFiles } from "../fakes/files.ts";
import { createFakeLoops } from "../fakes/loop.ts";
import { createFakeImages } from "../fakes/mkfs.ts";
import { imageContract } from "./mkfs.ts";

describe("the fake images keep the contract that real ones keep", () => {
  test.each(imageContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/pool"] });
    const loops = createFakeLoops(files);
    const { images, imageFileSystems } = createFakeImages(files, loops);
    await run({ files, loops, images, imageFileSystems, root: "/pool", canGrowMounted: true });
  });
});
