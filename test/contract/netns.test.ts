import { describe, test } from "vitest";
import { FakeKernel, FakeProcess } from "../fakes/netlink.ts";
import { netnsContract } from "./netns.ts";

describe("the fake kernel keeps the netns contract", () => {
  test.each(netnsContract)("$title", async ({ run }) => {
    const kernel = new FakeKernel();
    kernel.addNamespace("/run/netns/first");
    kernel.addNamespace("/run/netns/second");
    kernel.addNamespace("/run/netns/plain");
    kernel.removeNamespace("/run/netns/plain", "plain-file");
    const { netns } = new FakeProcess(kernel);
    const paths = { first: "/run/netns/first", second: "/run/netns/second", plainFile: "/run/netns/plain" };
    await run({ netns, ...paths, missing: "/run/netns/none" });
  });
});
