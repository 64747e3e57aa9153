import { describe, expect, test } from "vitest";
import { createKeyedLock } from "./keyed-lock.ts";

describe("a keyed lock", () => {
  test("refuses a second holder of any of its keys at once, and takes none of the others", async () => {
    const lock = createKeyedLock();
    let finish = () => {};
    const first = lock.run(["a", "b"], () => new Promise<void>((resolve) => (finish = resolve)));
    await expect(lock.run(["c", "b"], async () => "never")).rejects.toMatchObject({
      kind: "busy",
      subject: "b",
    });
    expect([lock.isHeld("a"), lock.isHeld("c")]).toEqual([true, false]);
    await expect(lock.run(["c"], async () => "other")).resolves.toBe("other");
    finish();
    await first;
    await expect(lock.run(["b"], async () => "next")).resolves.toBe("next");
  });

  test("lets go when the work fails", async () => {
    const lock = createKeyedLock();
    await expect(lock.run(["a"], () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(lock.isHeld("a")).toBe(false);
  });
});
