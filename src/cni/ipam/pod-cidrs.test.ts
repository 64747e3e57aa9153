/** A pool that is the node's podCIDRs: awaited, used, changed. */
import { beforeEach, describe, expect, it } from "vitest";
import { config, createFakeRuntime, environment, type FakeRuntime } from "../../../test/fakes/cni-runtime.ts";
import { readPodCidrs, writePodCidrs } from "./pod-cidrs.ts";

const stateDir = "/run/trivet/cni";
let runtime: FakeRuntime;
beforeEach(() => {
  runtime = createFakeRuntime();
});

const fromNode = (changes = {}) => config({ ipam: { source: "podCIDRs", ...changes } });
const learn = (...cidrs: string[]) => writePodCidrs(runtime.node.files(), stateDir, cidrs);
const addressesOf = (json: Record<string, unknown>) =>
  (json.ips as { address: string }[]).map(({ address }) => address);

describe("a pool that is the node's podCIDRs", () => {
  it("makes ADD wait with code 11, and says for what, while they are not known", async () => {
    const { json } = await runtime.invoke(environment("ADD"), fromNode());
    expect(json).toMatchObject({ code: 11, msg: expect.stringContaining("not known yet") as string });
    expect(json.msg).toContain("/run/trivet/cni/pod-cidrs.json");
    expect(runtime.node.stateFiles()).toEqual([]);
  });

  it("gives a pod one address of each family", async () => {
    await learn("10.42.7.0/24", "fd00:7::/64");
    const { json } = await runtime.invoke(environment("ADD"), fromNode());
    expect(addressesOf(json)).toEqual([
      expect.stringMatching(/^10\.42\.7\.\d+\/32$/),
      expect.stringMatching(/^fd00:7::[0-9a-f]+\/128$/),
    ]);
  });

  it("that changes is used for new pods, and releases the old ones' addresses all the same", async () => {
    await learn("10.42.7.0/24");
    await runtime.invoke(environment("ADD"), fromNode());
    expect(await learn("10.42.8.0/24")).toBe(true);
    expect(await runtime.invoke(environment("DEL"), fromNode())).toMatchObject({ exitCode: 0 });
    const { json } = await runtime.invoke(environment("ADD"), fromNode());
    expect(addressesOf(json)[0]).toMatch(/^10\.42\.8\./);
  });

  it("is deleted from also when they are not known at all", async () => {
    expect(await runtime.invoke(environment("DEL"), fromNode())).toMatchObject({ exitCode: 0 });
  });

  it.each([
    [{ source: "file" }, 'ipam.source is \\"file\\": it must be'],
    [{ ranges: [[{ subnet: "10.0.0.0/24" }]] }, "ranges or a subnet cannot be given beside it"],
  ])("%j is refused", async (changes, why) => {
    const { json, stdout } = await runtime.invoke(environment("ADD"), fromNode(changes));
    expect(json.code).toBe(7);
    expect(stdout).toContain(why);
  });

  it("is written when it changes, in canonical form, and an empty one never replaces it", async () => {
    expect(await learn("10.42.7.9/24")).toBe(true);
    expect(await learn("10.42.7.0/24")).toBe(false);
    expect(await learn()).toBe(false);
    expect(await readPodCidrs(runtime.node.files(), stateDir)).toEqual(["10.42.7.0/24"]);
  });

  it("that cannot be read is awaited like one that is not there, and is written anew", async () => {
    const files = runtime.node.files();
    await files.mkdir("/run/trivet/cni", 0o700);
    await files.create("/run/trivet/cni/pod-cidrs.json", Buffer.from(""), 0o600);
    await expect(readPodCidrs(files, stateDir)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await learn("10.42.7.0/24")).toBe(true);
  });
});
