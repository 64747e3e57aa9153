import { describe, expect, test } from "vitest";
import { bootId, createFakeNode } from "../../../test/fakes/cni-node.ts";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import { errnoError } from "../../host/errno.ts";
import { parseOwnIpam } from "../protocol/ipam-config.ts";
import { createProblems } from "../protocol/problems.ts";
import { makeNetworkDirectories, networkPaths } from "../state/paths.ts";
import { parseAddress } from "./address.ts";
import { createCursors } from "./cursor.ts";
import { claimLease, commitLease, findLeases, listLeases, releaseLease } from "./leases.ts";

interface Pod {
  readonly pod?: string;
  readonly requested?: string;
  readonly atMs?: number;
}

async function setUp(subnet: string, ipam: object = {}) {
  const files = createFakeFiles({ directories: ["/state"] });
  const paths = networkPaths(`/state/${bootId}`, "pods");
  await makeNetworkDirectories(files, paths);
  const problems = createProblems("pods");
  const parsed = parseOwnIpam({ ranges: [[{ subnet }]], ...ipam }, problems);
  problems.throwIfAny();
  const [set = []] = parsed.rangeSets;
  let nonces = 0;
  let cursors = createCursors(files);
  const restart = () => {
    cursors = createCursors(files);
  };
  const key = (containerId: string) => ({ network: "pods", containerId, ifname: "eth0" });
  const claim = (
    containerId: string,
    { pod: name = `pod-${containerId}`, requested, atMs = 7 }: Pod = {},
  ) => {
    const pod = { namespace: "default", name, uid: "" };
    const owner = { ...key(containerId), pod, createdAtMs: atMs };
    const address = requested === undefined ? undefined : parseAddress(requested);
    const wish = address && { address, key: "runtimeConfig.ips" };
    const prefix = paths.stagingPrefix(owner);
    const staging = { files, paths, prefix, nonce: String(nonces++) };
    const claiming = { staging, cursors, set, setIndex: 0, owner, options: parsed.options };
    return claimLease({ ...claiming, requested: wish, trying: () => undefined });
  };
  const release = (containerId: string, address: string, atMs = 9) =>
    releaseLease({ files, clock: { nowMs: () => atMs }, paths, address }, key(containerId));
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
    await Promise.all(["a", "b", "c", "d"].map((id) => claim(id)));
    expect(tried).toHaveLength(4);
  });

  test("a cursor that cannot be read as a number means starting from the beginning", async () => {
    const { claim, files, paths } = await setUp("10.0.0.0/24");
    await files.create(paths.cursor(0), Buffer.from("garbage"), 0o600);
    expect(await claim("a")).toBe("10.0.0.2");
  });
});

describe("addresses that are asked for, kept back, rested or given again", () => {
  const first = { subnet: "10.0.0.0/29" }.subnet; // .2 to .6

  test("an address that is asked for is given, and refused with its holder's name where it is taken", async () => {
    const { claim } = await setUp(first);
    expect(await claim("a", { requested: "10.0.0.5" })).toBe("10.0.0.5");
    await expect(claim("b", { requested: "10.0.0.5" })).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/runtimeConfig.ips asks for 10.0.0.5.*default\/pod-a/),
    });
    expect(await claim("c")).toBe("10.0.0.2");
  });

  test("excluded addresses are never given, and the message counts without them", async () => {
    const { claim } = await setUp(first, { exclude: ["10.0.0.2", "10.0.0.4/31"] });
    expect([await claim("a"), await claim("b")]).toEqual(["10.0.0.3", "10.0.0.6"]);
    await expect(claim("c")).rejects.toThrow("all 2 are leased");
  });

  test("a reserved address is the first for its pods, and never another's", async () => {
    const reservations = [{ address: "10.0.0.4", pod: "default/db-*" }];
    const { claim } = await setUp(first, { reservations });
    const others = [await claim("a"), await claim("b"), await claim("c"), await claim("d")];
    expect(others).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]);
    await expect(claim("e")).rejects.toThrow("all 4 are leased, and 1 more are reserved");
    await expect(claim("e", { requested: "10.0.0.4" })).rejects.toThrow("reserved for other pods");
    expect(await claim("f", { pod: "db-0" })).toBe("10.0.0.4");
  });

  test("an address that is reserved twice is for the pods of both", async () => {
    const reservations = ["db-*", "web-*"].map((name) => ({ address: "10.0.0.4", pod: `default/${name}` }));
    const { claim, release } = await setUp(first, { reservations });
    for (const pod of ["db-0", "web-0"]) {
      expect(await claim(pod, { pod, requested: "10.0.0.4" })).toBe("10.0.0.4");
      await release(pod, "10.0.0.4");
    }
  });

  test("a released address rests, unless nothing else is free", async () => {
    const { claim, release } = await setUp("10.0.0.0/29", { cooldownSeconds: 60 });
    for (const id of ["a", "b", "c", "d", "e"]) await claim(id);
    await release("b", "10.0.0.3", 10_000);
    await release("d", "10.0.0.5", 50_000);
    // The cursor would come to .3 first, but .5 is no better: one of them it must be.
    expect(await claim("f", { atMs: 60_000 })).toMatch(/10\.0\.0\.[35]/);
    await release("f", "10.0.0.3", 60_000);
    await release("f", "10.0.0.5", 60_000);
    await release("a", "10.0.0.2", 20_000);
    // .2 has rested for more than a minute, the others have not.
    expect(await claim("g", { atMs: 85_000 })).toBe("10.0.0.2");
  });

  test("a resting address that cannot be written down is free at once", async () => {
    const { claim, release, files, paths } = await setUp(first, { cooldownSeconds: 60 });
    const address = await claim("a");
    files.onEffect = (op, path, when) => {
      if (when === "before" && ["file.mkdir", "file.rename", "file.write"].includes(op)) {
        throw errnoError("ENOSPC", op, path);
      }
    };
    expect(await release("a", address)).toBe(true);
    files.onEffect = undefined;
    expect((await files.list(paths.leases)).map(({ name }) => name)).toEqual([]);
  });

  test("a pod of the same name gets its address back, if it is free", async () => {
    const { claim, release, files } = await setUp("10.0.0.0/24", { sticky: true, cooldownSeconds: 60 });
    await claim("x");
    const address = await claim("a", { pod: "db-0" });
    await release("a", address);
    expect(await claim("y")).not.toBe(address);
    expect(await claim("b", { pod: "db-0" })).toBe(address);
    expect(await claim("c", { pod: "db-0" })).not.toBe(address);
    expect((await files.list(`/state/${bootId}/pods/sticky`)).length).toBe(1);
  });
});

describe("a pool of IPv6", () => {
  test("with a cooldown does not remember each address that it ever leased", async () => {
    const { claim, release, files } = await setUp("fd00::/64", { cooldownSeconds: 60 });
    for (const requested of ["fd00::5", "fd00::1005", "fd00::f005", "fd00::6"]) {
      await release("a", await claim("a", { requested }));
    }
    expect((await files.list(`/state/${bootId}/pods/released`)).length).toBe(2);
  });

  test("of any size is walked no further than needed, and counted without walking", async () => {
    const { claim } = await setUp("fd00::/64");
    expect([await claim("a"), await claim("b")]).toEqual(["fd00::2", "fd00::3"]);
    const small = await setUp("fd00::/126", { exclude: ["fd00::2"] }).catch((error: unknown) => error);
    expect(small).toMatchObject({ kind: "invalid", message: expect.stringContaining("ipam.exclude") });
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
