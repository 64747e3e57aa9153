import fc from "fast-check";
import { expect, it } from "vitest";
import type { Route } from "../../host/netlink.ts";
import { planRoutes, type WantedRoute } from "./plan.ts";

const route = fc.record({
  destination: fc.nat(5).map((third) => `10.42.${third}.0`),
  prefixLength: fc.constantFrom(24, 25),
  gateway: fc.nat(3).map((last) => `192.168.1.${last}`),
  linkIndex: fc.constantFrom(2, 3),
});
const text = (each: Route) => JSON.stringify(each, ["destination", "prefixLength", "gateway", "linkIndex"]);
const plain = ({ destination, prefixLength, gateway, linkIndex }: Route): Route => ({
  ...{ destination, prefixLength, gateway, linkIndex },
});

it("what is there, less what is removed, with what is added, is what is wanted; and then nothing is to be done", () => {
  const routes = fc.uniqueArray(route, { selector: text });
  fc.assert(
    fc.property(routes, routes, (wanted: WantedRoute[], present: Route[]) => {
      const { remove, add } = planRoutes(wanted, present);
      const removed = new Set(remove.map((change) => text(plain(change as Route))));
      const after = [
        ...present.filter((each) => !removed.has(text(each))),
        ...add.map((change) => plain(change as Route)),
      ];
      expect(new Set(after.map(text))).toEqual(new Set(wanted.map(text)));
      expect(after).toHaveLength(wanted.length);
      expect(planRoutes(wanted, after)).toEqual({ remove: [], add: [] });
    }),
  );
});

it("a route of our number that has no gateway is none of ours", () => {
  const present = [{ destination: "10.0.0.0", prefixLength: 24, gateway: undefined, linkIndex: 2 }];
  expect(planRoutes([], present)).toEqual({ remove: [], add: [] });
});
