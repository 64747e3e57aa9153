import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CriClient, connectCri } from "../kubelet/cri-client.ts";
import { playRule, rules } from "./rules.ts";
import { runUntilStopped } from "./runtime.ts";
import { type FakeContainerd, startFakeContainerd } from "./server.ts";

const image = "trivet.local/busybox:1";

let directory: string;
let containerd: FakeContainerd;
let cri: CriClient;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-rules-"));
  containerd = await startFakeContainerd({
    path: join(directory, "c.sock"),
    images: [image],
    run: runUntilStopped,
  });
  cri = connectCri({ path: containerd.path });
});

afterAll(async () => {
  cri.close();
  await containerd.stop();
  await rm(directory, { recursive: true });
});

describe("the fake containerd keeps containerd's rules", () => {
  it.each(rules)("$title", async (rule) => {
    expect(await playRule(rule, { cri, image, logRoot: directory })).toEqual(rule.transcript);
  });

  it("and has nothing left after them", () => {
    expect(containerd.state.sandboxes.size).toBe(0);
    expect(containerd.state.containers.size).toBe(0);
    expect(containerd.state.names.size).toBe(0);
  });
});
