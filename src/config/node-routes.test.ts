/** The settings of `trivet node` for other nodes: both forms of a route, and what is said of a wrong one. */
import { describe, expect, it } from "vitest";
import { formatStaticRoute } from "../cni/node-routes/peers.ts";
import { loadConfig } from "./load.ts";
import { nodeFileSchema } from "./node.ts";

const load = (cni: object) =>
  loadConfig(nodeFileSchema, {
    file: { path: "/etc/trivet/node.yaml", text: JSON.stringify({ node: { nodeId: "n", cni } }) },
    overrides: [],
  }).node.cni;

describe("routes to other nodes in the settings", () => {
  it("are texts as the flag has them, or mappings", () => {
    const { nodeRoutes, routesFromNodes, mtuWatch } = load({
      nodeRoutes: ["10.42.1.0/24=192.168.1.2", { podCIDR: "fd00:1::/64", via: "2001:db8::2" }],
    });
    expect(nodeRoutes.map(formatStaticRoute)).toEqual([
      "10.42.1.0/24=192.168.1.2",
      "fd00:1::/64=2001:db8::2",
    ]);
    expect({ routesFromNodes, mtuWatch }).toEqual({ routesFromNodes: true, mtuWatch: "log" });
  });

  it.each([
    [{ nodeRoutes: ["10.42.1.0/24"] }, "must look like 10.42.1.0/24=192.168.1.2"],
    [{ nodeRoutes: [{ podCIDR: "10.42.1.0/24", via: "2001:db8::2" }] }, "different families"],
    [{ nodeRoutes: "10.42.1.0/24=192.168.1.2" }, "must be a list of routes"],
    [{ mtuWatch: "always" }, "must be one of log, apply"],
  ])("%j is refused with what is wrong", (cni, why) => {
    expect(() => load(cni)).toThrow(why);
  });
});
