import { describe, test } from "vitest";
import { createFakeFiles } from "../fakes/files.ts";
import { createFakeLoops } from "../fakes/loop.ts";
import { createFakeImages } from "../fakes/mkfs.ts";
import { loopContract } from "./loop.ts";

describe("the fake loop devices keep the contract that the kernel's keep", () => {
  test.each(loopContract)("$title", async ({ run }) => {
    const files = createFakeFiles({ directories: ["/pool"] });
    const loops = createFakeLoops(files);
    const { images } = createFakeImages(files, loops);
    await run({
      loops,
      async image(name, sizeBytes) {
        await images.create(`/pool/${name}`, sizeBytes);
        return `/pool/${name}`;
      },
      extend: (path, sizeBytes) => images.extend(path, sizeBytes, { reserve: false }),
      rename: (from, to) => files.rename(from, to),
      sizeOf: async (device) => loops.devices.get(device)?.sizeBytes ?? 0,
      async use(device) {
        loops.busy.add(device);
        return async () => void loops.busy.delete(device);
      },
    });
  });
});
