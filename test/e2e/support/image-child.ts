/** A process of its own that works on image volumes until it is killed, or attaches one and says where. */
import { rm } from "node:fs/promises";
import { createImageWorld, deviceOf, MIB } from "./image-world.ts";

const [what = "", disk = "", fsType = "ext4"] = process.argv.slice(2);
const world = createImageWorld(disk);

if (what === "attach") {
  const volume = await world.place({ access: "block", sizeBytes: 16 * MIB });
  await world.backend.build(volume);
  process.stdout.write(`${deviceOf(await world.backend.attach(volume))}\n`);
} else {
  for (;;) {
    const volume = await world.place({ fsType, sizeBytes: 300 * MIB });
    process.stdout.write(`${volume.wrapper}\n`);
    const record = { ...volume.record, ...(await world.backend.build(volume)) };
    await world.backend.grow({ ...volume, record: { ...record, sizeBytes: 364 * MIB } }, undefined);
    await rm(volume.wrapper, { recursive: true });
  }
}
