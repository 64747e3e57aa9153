/** libcni's cache on the fake node: which files are mended, which dropped, which left alone. */
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { bootId, createFakeNode, type FakeNode } from "../../test/fakes/cni-node.ts";
import { silentLog } from "../observe/log.ts";
import { repairCache } from "./cache-repair.ts";
import { decodeCache, isUsableCache } from "./libcni-cache.ts";
import { encodeEntry } from "./state/entry.ts";

const stateDir = "/run/trivet/cni";
const cacheDir = "/var/lib/cni";
const confDir = "/etc/cni/net.d";
const id = "0123456789abcdef".repeat(4);
const ofPod = `pods-${id}-eth0`;
let node: FakeNode;

beforeEach(async () => {
  node = createFakeNode();
  const conf = { cniVersion: "1.0.0", name: "pods", plugins: [{ type: "trivet" }, { type: "tuning" }] };
  await write(join(confDir, "10-trivet.conflist"), JSON.stringify(conf));
  await write(
    join(confDir, "20-other.conflist"),
    JSON.stringify({ name: "other", plugins: [{ type: "bridge" }] }),
  );
  await write(join(confDir, "30-broken.conflist"), "{");
});

async function write(path: string, text: string): Promise<void> {
  const files = node.files();
  const parts = path.split("/").slice(1, -1);
  for (const [index] of parts.entries()) {
    await files.mkdir(`/${parts.slice(0, index + 1).join("/")}`, 0o700).catch(() => undefined);
  }
  await files.create(path, Buffer.from(text), 0o600);
}

const writeCache = (name: string, text = "") => write(join(cacheDir, "results", name), text);

const writeRecord = (containerId: string, changes: object = {}) => {
  const record = {
    ...{ network: "pods", containerId, ifname: "eth0", hostLink: "tv0", hostMac: "02:00:00:00:00:01" },
    ...{ podMac: "02:00:00:00:00:02", netns: "/run/netns/a", netnsInode: "1", claim: "x", createdAtMs: 1 },
    pod: { namespace: "default", name: "web", uid: "u" },
    addresses: ["10.42.0.2", "fd00::2"],
    routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }],
    ...changes,
  };
  const path = join(stateDir, bootId, "pods/attachments", `${containerId}:eth0`);
  return write(path, encodeEntry("committed", record).toString());
};

async function repair() {
  const { clock } = node.boot().deps;
  const later = { ...clock, nowMs: () => Date.now() + 3_600_000 };
  const deps = { files: node.files(), bootId, clock: later };
  return repairCache({ deps, stateDir, cacheDir, confDir, log: silentLog });
}

const read = async (name: string) => node.files().read(join(cacheDir, "results", name));

describe("mending libcni's cache", () => {
  it("is mended though there are directories among the files, which libcni passes over too", async () => {
    await write(join(confDir, "05-old.conflist", "x"), "");
    await write(join(cacheDir, "results", `pods-${"f".repeat(64)}-eth0`, "x"), "");
    await writeCache(ofPod);
    expect(await repair()).toEqual({ rebuilt: [], dropped: [ofPod] });
  });

  it("writes an empty file anew from the record of the pod, so that DEL can read it", async () => {
    await writeRecord(id);
    await writeCache(ofPod);
    expect(await repair()).toEqual({ rebuilt: [ofPod], dropped: [] });
    const bytes = await read(ofPod);
    expect(isUsableCache(bytes)).toBe(true);
    expect(decodeCache(bytes)).toEqual({
      ...{ network: "pods", containerId: id, ifname: "eth0", netns: "/run/netns/a" },
      pod: { namespace: "default", name: "web", uid: "u" },
    });
    const { config, result, cniArgs } = JSON.parse(bytes.toString()) as Record<string, unknown>;
    expect(JSON.parse(Buffer.from(String(config), "base64").toString())).toMatchObject({ name: "pods" });
    expect(cniArgs).toContainEqual(["K8S_POD_INFRA_CONTAINER_ID", id]);
    expect(result).toEqual({
      cniVersion: "1.0.0",
      interfaces: [
        { name: "tv0", mac: "02:00:00:00:00:01" },
        { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/a" },
      ],
      ips: [
        { address: "10.42.0.2/32", interface: 1 },
        { address: "fd00::2/128", interface: 1 },
      ],
      routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }],
      dns: {},
    });
  });

  it("does it once", async () => {
    await writeRecord(id);
    await writeCache(ofPod);
    await repair();
    expect(await repair()).toEqual({ rebuilt: [], dropped: [] });
  });

  it.each(["", '{"kind":"cniCac', "[]", '{"kind":"cniCacheV1","result":{}}', "{}"])(
    "drops the file of a pod that has no record: %j",
    async (content) => {
      await writeCache(ofPod, content);
      expect(await repair()).toEqual({ rebuilt: [], dropped: [ofPod] });
      await expect(read(ofPod)).rejects.toMatchObject({ kind: "not-found" });
    },
  );

  it("drops the file of a pod whose network has no configuration, or whose addresses another IPAM plugin has", async () => {
    const other = id.replaceAll("0", "f");
    await writeRecord(id, { mode: "ipam" });
    await writeCache(ofPod);
    await writeRecord(other);
    await node.files().unlink(join(confDir, "10-trivet.conflist"));
    await writeCache(`pods-${other}-eth0`);
    const { rebuilt, dropped } = await repair();
    expect(rebuilt).toEqual([]);
    expect(dropped).toHaveLength(2);
  });

  it.each([
    [`other-${id}-eth0`, ""],
    [`pods-two-${id}-eth0`, ""],
    ["pods-short-eth0", ""],
    ["cni-loopback-x-lo", ""],
    [ofPod, JSON.stringify({ kind: "cniCacheV1", result: { cniVersion: "1.0.0" } })],
    [ofPod, JSON.stringify({ cniVersion: "0.2.0", ip4: {} })],
  ])("leaves %s with %j alone", async (name, content) => {
    await writeCache(name, content);
    expect(await repair()).toEqual({ rebuilt: [], dropped: [] });
    expect((await read(name)).toString()).toBe(content);
  });

  it("leaves a file that is being written", async () => {
    await writeCache(ofPod);
    const { modifiedMs } = await node.files().stat(join(cacheDir, "results", ofPod));
    const clock = { ...node.boot().deps.clock, nowMs: () => modifiedMs + 9_000 };
    const deps = { files: node.files(), bootId, clock };
    const options = { deps, stateDir, cacheDir, confDir, log: silentLog };
    expect(await repairCache(options)).toEqual({ rebuilt: [], dropped: [] });
  });

  it("has nothing to do where there is no cache", async () => {
    expect(await repair()).toEqual({ rebuilt: [], dropped: [] });
  });
});
