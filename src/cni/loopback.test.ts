/** The program as the `loopback` plugin, through the door that a runtime uses. */
import { describe, expect, it } from "vitest";
import { createFakeRuntime, environment, type Json, podNetns } from "../../test/fakes/cni-runtime.ts";

const conf = (changes: Json = {}): Json => ({
  cniVersion: "0.3.1",
  name: "cni-loopback",
  type: "loopback",
  // Nothing of ours is in such a configuration; the address is of no agent.
  socket: "/nonexistent/cni.sock",
  ...changes,
});

describe("the loopback plugin", () => {
  it.each(["0.3.1", "0.4.0", "1.0.0", "1.1.0"])(
    "brings lo up and says what it has, in %s",
    async (cniVersion) => {
      const runtime = createFakeRuntime();
      const link = runtime.pod().requireLink("test", "lo");
      const lo = { linkIndex: link.index, op: "address.add" } as const;
      runtime.pod().addAddress({ ...lo, address: "127.0.0.1", prefixLength: 8 });
      runtime.pod().addAddress({ ...lo, address: "::1", prefixLength: 128 });
      const env = environment("ADD", { CNI_IFNAME: "lo" });
      const { exitCode, json } = await runtime.invoke(env, conf({ cniVersion }));
      expect(exitCode).toBe(0);
      expect(link.up).toBe(true);
      const old = cniVersion.startsWith("0.");
      expect(json).toEqual({
        cniVersion,
        interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: podNetns }],
        ips: [
          { ...(old && { version: "4" }), address: "127.0.0.1/8", interface: 0 },
          { ...(old && { version: "6" }), address: "::1/128", interface: 0 },
        ],
        dns: {},
      });
      expect(runtime.node.stateFiles()).toEqual([]);
    },
  );

  it("passes the result of a plugin before it on", async () => {
    const runtime = createFakeRuntime();
    const prevResult = { cniVersion: "1.0.0", interfaces: [{ name: "eth0" }], ips: [], dns: {} };
    const { json } = await runtime.invoke(environment("ADD"), conf({ cniVersion: "1.0.0", prevResult }));
    expect(json).toEqual(prevResult);
  });

  it("finds a loopback that is down, and none that is up", async () => {
    const runtime = createFakeRuntime();
    const prevResult = { cniVersion: "0.4.0" };
    const check = () => runtime.invoke(environment("CHECK"), conf({ cniVersion: "0.4.0", prevResult }));
    expect((await check()).json).toMatchObject({ code: 101 });
    await runtime.invoke(environment("ADD"), conf());
    expect(await check()).toMatchObject({ exitCode: 0, stdout: "" });
  });

  it("has nothing to delete, with a namespace or without one, and refuses to add where there is none", async () => {
    const runtime = createFakeRuntime();
    for (const CNI_NETNS of [podNetns, "", "/run/netns/gone"]) {
      expect(await runtime.invoke(environment("DEL", { CNI_NETNS }), conf())).toMatchObject({ exitCode: 0 });
    }
    const gone = environment("ADD", { CNI_NETNS: "/run/netns/gone" });
    expect((await runtime.invoke(gone, conf())).json).toMatchObject({ code: 4 });
  });

  it("is always ready", async () => {
    const runtime = createFakeRuntime();
    for (const command of ["STATUS", "GC"]) {
      const reply = await runtime.invoke(environment(command), conf({ cniVersion: "1.1.0" }));
      expect(reply).toMatchObject({ exitCode: 0, stdout: "" });
    }
  });
});
