import { describe, expect, test } from "vitest";
import { holdName } from "../../src/host/exclusive.ts";
import { createFakeHold } from "../fakes/exclusive.ts";

describe.each([
  ["the real one", holdName],
  ["the fake", createFakeHold()],
])("a name held, by %s", (_, hold) => {
  const name = `trivet/test/${process.pid}`;

  test("is nobody else's until it is released, and others are free", async () => {
    const first = await hold(name);
    await expect(hold(name)).rejects.toMatchObject({ kind: "conflict", op: "name.hold", subject: name });
    await (await hold(`${name}/other`)).release();
    await first.release();
    await (await hold(name)).release();
  });
});
