/** Ours and the reference `loopback`, in namespaces of their own: the same answers, the same effect. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ip } from "./support/cni-world.ts";

const ours = fileURLToPath(new URL("../../bin/trivet", import.meta.url));
const reference = "/usr/lib/cni/loopback";
const namespaces = ["ours", "reference"].map((part) => `trivet-lo-${process.pid}-${part}`);

function call(program: string, command: string, netns: string, conf: object) {
  const env = {
    PATH: process.env.PATH,
    CNI_COMMAND: command,
    CNI_CONTAINERID: "c1",
    CNI_IFNAME: "lo",
    CNI_NETNS: netns === "" ? "" : `/run/netns/${netns}`,
    CNI_PATH: "/usr/lib/cni",
  };
  const { status, stdout } = spawnSync(program, [], { env, input: JSON.stringify(conf), encoding: "utf8" });
  return { status, stdout };
}

beforeAll(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  expect(existsSync(reference), "needs the package containernetworking-plugins").toBe(true);
  for (const namespace of namespaces) ip("netns", "add", namespace);
});
afterAll(() => {
  for (const namespace of namespaces) ip("netns", "delete", namespace);
});

describe("as containerd calls it", () => {
  const [own = "", other = ""] = namespaces;
  const conf = (cniVersion: string) => ({
    ...{ cniVersion, name: "cni-loopback", type: "loopback", socket: "/nonexistent/agent.sock" },
  });

  test.each(["0.3.1", "0.4.0", "1.0.0"])("ADD answers as the reference plugin does, in %s", (cniVersion) => {
    const answer = call(ours, "ADD", own, conf(cniVersion));
    const expected = call(reference, "ADD", other, conf(cniVersion));
    expect([answer.status, expected.status]).toEqual([0, 0]);
    const withOwn = expected.stdout.replaceAll(other, own);
    // The specifications before 1.0.0 demand a `version` in addresses, which the reference leaves out.
    const known = (text: string) => JSON.parse(text.replaceAll(/"version":"[46]",/g, "")) as object;
    expect(known(answer.stdout)).toEqual(known(withOwn));
    const pinged = execFileSync("ip", ["netns", "exec", own, "busybox", "ping", "-c", "1", "127.0.0.1"]);
    expect(pinged.toString()).toContain("1 packets received");
  });

  test("CHECK passes afterwards, DEL does with and without a namespace", () => {
    const { stdout } = call(ours, "ADD", own, conf("1.0.0"));
    const checked = { ...conf("1.0.0"), prevResult: JSON.parse(stdout) as object };
    expect(call(ours, "CHECK", own, checked)).toEqual({ status: 0, stdout: "" });
    for (const netns of [own, ""])
      expect(call(ours, "DEL", netns, conf("1.0.0"))).toEqual({ status: 0, stdout: "" });
  });
});
