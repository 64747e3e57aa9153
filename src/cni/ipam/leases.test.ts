import { describe, expect, test } from "vitest";
import { bootId, createFakeNode } from "../../../test/fakes/cni-node.ts";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { parseOwnIpam } from "../protocol/ipam-config.ts";
import { createProblems } from "../protocol/problems.ts";
import { makeNetworkDirectories, networkPaths } from "../state/paths.ts";
import { createCursors } from "./cursor.ts";
import { claimLease, commitLease, findLeases, listLeases, releaseLease } from "./leases.ts";

async function setUp(subnet: string) {
  const files = createFakeFiles({ directories: ["/state"] });
  const paths = networkPaths(`/state/${bootId}`, "pods");
  await makeNetworkDirectories(files, paths);
  const [set = []] = parseOwnIpam({ ranges: [[{ subnet }]] }, createProblems("pods")).rangeSets;
  let nonces = 0;
  let cursors = createCursors(files);
  const restart = () => {
    cursors = createCursors(files);
  };
  const key = (containerId: string) => ({ network: "pods", containerId, ifname: "eth0" });
  const claim = (containerId: string) => {
    const pod = { namespace: "default", name: `pod-${containerId}`, uid: "" };
    const owner = { ...key(containerId), pod, createdAtMs: 7 };
    const prefix = paths.stagingPrefix(owner);
    const staging = { files, paths, prefix, nonce: String(nonces++) };
    return claimLease({ staging, cursors, set, setIndex: 0, owner, trying: () => undefined });
  };
  const release = (containerId: string, address: string) =>
    releaseLease({ files, clock: { nowMs: () => 9 }, paths, address }, key(containerId));
  return { files, paths, key, claim, release, restart };
}

describe("claimLease", () => {
  test("a freed address is the last to be leased again", async () => {
    const { claim, release } = await setUp("10.0.0.0/29");
    const first = await claim("a");
    await release("a", first);
    const next = [await claim("b"), await claim("c"), await claim("d"), await claim("e")];
    expect(next).not.toContain(first);
    expect(await claim("f")).toBe(first);
  });

  test("two hundred at once get two hundred addresses, wherever they start", async () => {
    const { claim, files } = await setUp("10.0.0.0/24");
    const claimed = await Promise.all(Array.from({ length: 200 }, (_, index) => claim(`c${index}`)));
    expect(new Set(claimed).size).toBe(200);
    expect((await files.list(`/state/${bootId}/pods/leases`)).length).toBe(200);
    expect(await files.list(`/state/${bootId}/pods/staging`)).toEqual([]);
  });

  test("the last free address is found, wherever the cursor stands, and then there is none", async () => {
    const { claim, release } = await setUp("10.0.0.0/24");
    for (let index = 0; index < 253; index += 1) await claim(`c${index}`);
    await expect(claim("late")).rejects.toMatchObject({
      kind: "exhausted",
      message: expect.stringContaining("253"),
    });
    await release("c40", "10.0.0.42");
    expect(await claim("late")).toBe("10.0.0.42");
  });

  test("costs the same number of effects with few leases as with many", async () => {
    const { claim, files } = await setUp("10.0.0.0/16");
    const count = async (containerId: string) => {
      let effects = 0;
      files.onEffect = (_op, _path, when) => void (when === "before" && effects++);
      await claim(containerId);
      files.onEffect = undefined;
      return effects;
    };
    await claim("warm");
    const few = await count("few");
    for (let index = 0; index < 2_000; index += 1) await claim(`c${index}`);
    expect(await count("many")).toBe(few);
  });

  test("a process that is started anew goes on where the last one stopped", async () => {
    const { claim, release, restart } = await setUp("10.0.0.0/24");
    await claim("a");
    await release("a", await claim("b"));
    await release("b", "10.0.0.3");
    restart();
    expect(await claim("c")).toBe("10.0.0.4");
  });

  test("calls of one process at the same moment do not try each other's addresses", async () => {
    const { claim, files } = await setUp("10.0.0.0/24");
    await claim("warm");
    const tried: string[] = [];
    files.onEffect = (op, path, when) => void (op === "file.link" && when === "before" && tried.push(path));
    await Promise.all(["a", "b", "c", "d"].map(claim));
    expect(tried).toHaveLength(4);
  });

  test("a cursor that cannot be read as a number means starting from the beginning", async () => {
    const { claim, files, paths } = await setUp("10.0.0.0/24");
    await files.create(paths.cursor(0), Buffer.from("garbage"), 0o600);
    expect(await claim("a")).toBe("10.0.0.2");
  });
});

describe("leases of others", () => {
  test("are neither released nor committed nor found", async () => {
    const { claim, release, files, paths, key } = await setUp("10.0.0.0/24");
    const address = await claim("a");
    expect(await release("b", address)).toBe(false);
    expect(await commitLease(files, paths.lease(address), key("b"))).toBe(false);
    expect(await findLeases(files, paths, key("b"))).toEqual([]);
    expect(await findLeases(files, paths, key("a"))).toEqual([address]);
  });
});

describe("listLeases", () => {
  test("lists address, container, pod and state, of this boot only", async () => {
    const { claim, files, paths, key } = await setUp("10.0.0.0/24");
    await claim("a");
    const second = await claim("b");
    await commitLease(files, paths.lease(second), key("b"));
    expect(await listLeases({ files, bootId }, "/state")).toMatchObject([
      { network: "pods", address: "10.0.0.2", containerId: "a", state: "pending", createdAtMs: 7 },
      {
        ...{ network: "pods", address: "10.0.0.3", containerId: "b", ifname: "eth0" },
        ...{ pod: { namespace: "default", name: "pod-b" }, state: "committed" },
      },
    ]);
    expect(await listLeases({ files, bootId: "another" }, "/state")).toEqual([]);
  });

  test("is empty where there is no state at all", async () => {
    expect(await listLeases(createFakeNode().boot().deps, "/run/trivet/cni")).toEqual([]);
  });
});
