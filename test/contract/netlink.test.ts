import { describe, test } from "vitest";
import type { NetnsHandle } from "../../src/host/netns.ts";
import { FakeKernel, FakeProcess } from "../fakes/netlink.ts";
import { netlinkContract } from "./netlink.ts";

describe("the fake kernel keeps the netlink contract", () => {
  test.each(netlinkContract)("$title", async ({ run }) => {
    const kernel = new FakeKernel();
    const process = new FakeProcess(kernel);
    kernel.addNamespace("/run/netns/host");
    kernel.addNamespace("/run/netns/pod");
    const open = (path: string) => process.netns.open(path) as NetnsHandle;
    await run({
      netlink: process.netlink,
      host: open("/run/netns/host"),
      pod: open("/run/netns/pod"),
    });
  });
});
