/** What our errors say beyond the rules in `cni/rules`: which field and which value, all of them in one message. */
import { beforeEach, describe, expect, test } from "vitest";
import type { FakeNode } from "../fakes/cni-node.ts";
import { config, createFakeRuntime, environment, type FakeRuntime, type Json } from "../fakes/cni-runtime.ts";

let runtime: FakeRuntime;
let node: FakeNode;
const { add, invoke }: Pick<FakeRuntime, "add" | "invoke"> = {
  add: (changes, env) => runtime.add(changes, env),
  invoke: (env, stdin) => runtime.invoke(env, stdin),
};

beforeEach(() => {
  runtime = createFakeRuntime();
  node = runtime.node;
});

describe("errors", () => {
  const wrong: readonly (readonly [title: string, code: number, stdin: Json | string, said: string])[] = [
    ["an old version", 1, config({ cniVersion: "0.2.0" }), "0.2.0"],
    ["a missing version, which means 0.1.0", 1, config({ cniVersion: undefined }), "0.1.0"],
    ["a mode that there is not", 7, config({ mode: "vxlan" }), 'mode is "vxlan"'],
    ["an IPAM plugin with a path for a name", 7, config({ ipam: { type: "../x" } }), 'ipam.type is "../x"'],
    [
      "an unknown key of a range",
      2,
      config({ ipam: { ranges: [[{ subnet: "10.8.0.0/24", size: 9 }]] } }),
      "size",
    ],
    ["an empty stdin", 6, "", "empty"],
    ["stdin that is no object", 6, "[]", "no object"],
    ["a wrong value", 7, config({ mtu: "many" }), 'mtu is "many"'],
    ["a network without a name", 7, config({ name: undefined }), "name is missing"],
  ];

  test.each(wrong)("%s is code %i, on stdout, with exit code 1", async (_title, code, stdin, said) => {
    const { exitCode, json } = await invoke(environment("ADD"), stdin);
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code, msg: expect.stringContaining(said) });
    expect(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]).toContain(json.cniVersion);
    expect(node.stateFiles()).toEqual([]);
    expect(node.sysctls.get("net.ipv4.ip_forward")).toBe("0");
  });

  test("names every missing variable in one message of code 4", async () => {
    const { json } = await invoke({ CNI_COMMAND: "ADD" }, config());
    expect(json).toMatchObject({ code: 4 });
    for (const name of ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"]) expect(json.msg).toContain(name);
  });

  test("names every problem of a configuration in one message", async () => {
    const ipam = { ranges: [[{ subnet: "10.0.0.1/24" }, { subnet: "none" }]], routes: [{ dst: "x" }] };
    const { json } = await invoke(environment("ADD"), config({ mtu: 1, ipMasq: "yes", ipam }));
    const keys = ["mtu", "ipMasq", "ipam.ranges[0][0].subnet", "ipam.ranges[0][1].subnet", "routes[0].dst"];
    for (const key of keys) expect(json.msg).toContain(key);
    expect(json).toMatchObject({ code: 7 });
  });

  const badVariables: readonly (readonly [string, Record<string, string>, string])[] = [
    ["an interface name that the kernel takes for a pattern", { CNI_IFNAME: "eth%d" }, "CNI_IFNAME"],
    ["an interface name that stands for all interfaces", { CNI_IFNAME: "all" }, "CNI_IFNAME"],
    ["a namespace that is not there", { CNI_NETNS: "/run/netns/none" }, "CNI_NETNS"],
    ["arguments that are no pairs", { CNI_ARGS: "K8S_POD_NAME" }, "CNI_ARGS"],
    ["unknown arguments without IgnoreUnknown", { CNI_ARGS: "A=1;B=2" }, "A, B"],
  ];

  test.each(badVariables)("%s is code 4", async (_title, env, said) => {
    const { exitCode, json } = await invoke(environment("ADD", env), config());
    expect(exitCode).toBe(1);
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining(said) });
    expect(node.stateFiles()).toEqual([]);
  });

  test.each([
    ["STATUS", "1.0.0"],
    ["GC", "1.0.0"],
    ["CHECK", "0.3.1"],
  ])("%s, which %s does not have, is code 1", async (command, cniVersion) => {
    const { json } = await invoke(environment(command), config({ cniVersion }));
    expect(json).toMatchObject({ code: 1, msg: expect.stringContaining(command) });
  });

  test("GC without CNI_PATH is code 4", async () => {
    const stdin = config({ cniVersion: "1.1.0", "cni.dev/valid-attachments": [] });
    const { json } = await invoke(environment("GC", { CNI_PATH: undefined }), stdin);
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining("CNI_PATH") });
  });

  test("the host's own namespace is refused, unless CNI_NETNS_OVERRIDE is set", async () => {
    const own = node.kernel.addNamespace("/run/netns/own");
    Object.defineProperty(own, "inode", { value: node.kernel.host.inode });
    const env = { CNI_NETNS: "/run/netns/own" };
    const { json } = await invoke(environment("ADD", env), config());
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining("own namespace") });
    await add({}, { ...env, CNI_NETNS_OVERRIDE: "1" });
  });

  test("a network whose addresses are all leased is code 11 and takes nothing", async () => {
    const ipam = { ranges: [[{ subnet: "10.88.0.0/30" }]] };
    await add({ ipam });
    node.kernel.addNamespace("/run/netns/two");
    const before = node.stateFiles();
    const env = { CNI_CONTAINERID: "c2", CNI_NETNS: "/run/netns/two" };
    const { json } = await invoke(environment("ADD", env), config({ ipam }));
    expect(json).toMatchObject({ code: 11, msg: expect.stringContaining("all 1 are leased") });
    expect(node.stateFiles()).toEqual(before);
  });
});
