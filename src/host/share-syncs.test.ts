import { describe, expect, it } from "vitest";
import { shareSyncs } from "./share-syncs.ts";

interface Started {
  readonly path: string;
  resolve(): void;
  reject(error: Error): void;
}

function world() {
  const started: Started[] = [];
  const sync = shareSyncs(
    (path) => new Promise((resolve, reject) => void started.push({ path, resolve, reject })),
  );
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const at = (index: number): Started => {
    const one = started[index];
    if (!one) throw new Error(`sync ${index} has not started`);
    return one;
  };
  return { started, sync, turn, at };
}

describe("shared syncs", () => {
  it("start at once where none is running, whatever runs elsewhere", () => {
    const { started, sync } = world();
    void sync("/a");
    void sync("/b");
    expect(started.map(({ path }) => path)).toEqual(["/a", "/b"]);
  });

  it("never end a caller with a sync that began before it asked", async () => {
    const { started, sync, turn, at } = world();
    const done: string[] = [];
    void sync("/a").then(() => done.push("first"));
    void sync("/a").then(() => done.push("second"));
    void sync("/a").then(() => done.push("third"));
    at(0).resolve();
    await turn();
    expect(done).toEqual(["first"]);
    expect(started).toHaveLength(2);
    const late = sync("/a").then(() => done.push("late"));
    at(1).resolve();
    await turn();
    expect(done).toEqual(["first", "second", "third"]);
    at(2).resolve();
    await late;
    expect(started).toHaveLength(3);
  });

  it("fail all that share one, and nobody who asked for the next", async () => {
    const { sync, turn, at } = world();
    const outcomes = [sync("/a"), sync("/a"), sync("/a")].map((one) =>
      one.then(
        () => "synced",
        (error: Error) => error.message,
      ),
    );
    at(0).reject(new Error("EIO"));
    await turn();
    at(1).resolve();
    expect(await Promise.all(outcomes)).toEqual(["EIO", "synced", "synced"]);
  });

  it("keep nothing of what is over", async () => {
    const { started, sync, turn, at } = world();
    void sync("/a");
    at(0).resolve();
    await turn();
    void sync("/a");
    expect(started).toHaveLength(2);
  });
});
