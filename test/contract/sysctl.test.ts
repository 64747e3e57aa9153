import { describe, test } from "vitest";
import { createFakeSysctl } from "../fakes/sysctl.ts";
import { sysctlContract } from "./sysctl.ts";

describe("the fake kernel parameters keep the contract", () => {
  test.each(sysctlContract)("$title", ({ run }) => {
    const name = "net.ipv4.neigh.lo.gc_stale_time";
    return run({ sysctl: createFakeSysctl(new Map([[name, "60"]])), name });
  });
});
