/** host-local's directories on the fake node: what becomes of each kind of file, and that nothing is given away twice. */
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { bootId, createFakeNode, type FakeNode } from "../../../test/fakes/cni-node.ts";
import { whyDead } from "../gc/alive.ts";
import { listLeases } from "../ipam/leases.ts";
import { encodeCache } from "../libcni-cache.ts";
import { ownAttachments } from "../own-attachments.ts";
import { importHostLocal } from "./import.ts";

const stateDir = "/run/trivet/cni";
const hostLocalDir = "/var/lib/cni/networks";
const cacheDir = "/var/lib/cni";
const netnsDir = "/run/netns";
let node: FakeNode;

beforeEach(async () => {
  node = createFakeNode();
  await write(join(hostLocalDir, "pods/lock"), "");
  await write(join(hostLocalDir, "pods/last_reserved_ip.0"), "10.42.0.9");
  pod("a", "10.42.0.2", "fd00::2");
  await write(join(hostLocalDir, "pods/10.42.0.2"), "id-a\r\neth0");
  await write(join(hostLocalDir, "pods/fd00::2"), "id-a\r\neth0");
  pod("b", "10.42.0.3");
  await write(join(hostLocalDir, "pods/10.42.0.3"), "id-b"); // of an old release
  await write(join(hostLocalDir, "pods/10.42.0.4"), "id-dead\r\neth0");
  await write(join(hostLocalDir, "pods/10.42.0.5"), "");
});

async function write(path: string, text: string): Promise<void> {
  const files = node.files();
  const parts = path.split("/").slice(1, -1);
  for (const [index] of parts.entries()) {
    await files.mkdir(`/${parts.slice(0, index + 1).join("/")}`, 0o700).catch(() => undefined);
  }
  await files.create(path, Buffer.from(text), 0o600);
}

function pod(name: string, ...addresses: string[]): void {
  const namespace = node.kernel.addNamespace(`${netnsDir}/${name}`);
  const link = namespace.addPlainLink("eth0", { mac: "02:00:00:00:00:01", mtu: 1500 });
  for (const address of addresses) {
    namespace.addAddress({ op: "address.add", linkIndex: link.index, address, prefixLength: 24 });
  }
}

async function run(options: { apply?: boolean; as?: string } = {}) {
  const { deps } = node.boot();
  // The fake kernel's namespaces are no files.
  await node
    .files()
    .mkdir(netnsDir, 0o755)
    .catch(() => undefined);
  for (const name of ["a", "b"]) {
    await node
      .files()
      .create(`${netnsDir}/${name}`, Buffer.from(""), 0o444)
      .catch(() => undefined);
  }
  const rows = await importHostLocal({
    deps,
    stateDir,
    hostLocalDir,
    cacheDir,
    netnsDir,
    apply: false,
    ...options,
  });
  return { deps, rows, outcomes: rows.map(({ address, outcome }) => `${address} ${outcome}`) };
}

describe("importing from host-local", () => {
  it("shows what it would do, and writes nothing", async () => {
    const { outcomes } = await run();
    expect(outcomes).toEqual([
      "10.42.0.2 import",
      "10.42.0.3 import",
      "10.42.0.4 dead",
      "10.42.0.5 unreadable",
      "fd00::2 import",
    ]);
    expect(node.stateFiles().filter((path) => path.includes("leases"))).toEqual([]);
  });

  it("takes over all addresses of pods that live, with their names where the runtime's cache has them", async () => {
    const key = { network: "pods", containerId: "id-a", ifname: "eth0" };
    const who = { namespace: "default", name: "web", uid: "u" };
    const cache = encodeCache({ key, netns: "", pod: who, config: Buffer.from("{}"), result: {} });
    await write(`${cacheDir}/results/pods-id-a-eth0`, cache.toString());
    const { deps } = await run({ apply: true });
    const leases = await listLeases(deps, stateDir);
    expect(
      leases.map(({ address, containerId, pod: { name }, state }) => [address, containerId, name, state]),
    ).toEqual([
      ["10.42.0.2", "id-a", "web", "committed"],
      ["10.42.0.3", "id-b", "", "committed"],
      ["fd00::2", "id-a", "web", "committed"],
    ]);
    expect((await deps.files.list(join(hostLocalDir, "pods"))).length).toBe(7);
  });

  it("may be repeated, and takes what came since", async () => {
    await run({ apply: true });
    const before = node.stateFiles();
    expect((await run({ apply: true })).outcomes.filter((line) => /import|conflict/.test(line))).toEqual([]);
    expect(node.stateFiles()).toEqual(before);
  });

  it("leaves an address that is leased already, and all others of that pod, and says who has it", async () => {
    const leases = join(stateDir, bootId, "pods/leases");
    await write(join(leases, "10.42.0.2"), `c ${JSON.stringify({ containerId: "other", ifname: "eth0" })}\n`);
    const { outcomes, rows, deps } = await run({ apply: true });
    expect(outcomes).toContain("10.42.0.2 conflict");
    expect(outcomes).toContain("fd00::2 conflict");
    expect(outcomes).toContain("10.42.0.3 import");
    expect(rows[0]?.detail).toContain("other");
    expect((await listLeases(deps, stateDir)).map(({ address }) => address)).toEqual([
      "10.42.0.2",
      "10.42.0.3",
    ]);
  });

  it("completes what an import that was killed has begun, at whichever step", async () => {
    for (let step = 0; ; step += 1) {
      node = createFakeNode();
      pod("a", "10.42.0.2", "fd00::2");
      await write(join(hostLocalDir, "pods/10.42.0.2"), "id-a\r\neth0");
      await write(join(hostLocalDir, "pods/fd00::2"), "id-a\r\neth0");
      await write(`${netnsDir}/a`, "");
      const killed = node.boot({ step, mode: "kill-after" });
      const options = { stateDir, hostLocalDir, cacheDir, netnsDir, apply: true };
      const done = await importHostLocal({ deps: killed.deps, ...options }).then(
        () => true,
        () => false,
      );
      const { deps } = node.boot();
      await importHostLocal({ deps, ...options });
      const leases = await listLeases(deps, stateDir);
      expect(
        leases.map(({ address }) => address),
        `step ${step}`,
      ).toEqual(["10.42.0.2", "fd00::2"]);
      if (done) break;
    }
  });

  it("is freed by the sweep when the pod's namespace is gone, and not before", async () => {
    const { deps } = await run({ apply: true });
    node.kernel.removeNamespace(`${netnsDir}/b`);
    const records = await ownAttachments(deps, stateDir);
    const dead = await Promise.all(records.map((record) => whyDead(deps, record, deps.clock.nowMs())));
    expect(records.map(({ containerId }, index) => [containerId, dead[index]])).toEqual([
      ["id-a", undefined],
      ["id-b", `its namespace ${netnsDir}/b is gone`],
    ]);
  });

  it("goes into a network of another name", async () => {
    const { deps } = await run({ apply: true, as: "trivet-pods" });
    expect((await listLeases(deps, stateDir)).map(({ network }) => network)).toEqual(
      Array(3).fill("trivet-pods"),
    );
  });
});
