import { expect, test } from "vitest";
import { formatAddress, formatNetwork } from "../ipam/address.ts";
import { matchesPod, parseExclude, parsePoolOptions } from "./pool-options.ts";
import { createProblems, type JsonObject } from "./problems.ts";

const parse = (ipam: JsonObject) => {
  const problems = createProblems("test");
  const parsed = { ...parsePoolOptions(ipam, problems), exclude: parseExclude(ipam, problems) };
  problems.throwIfAny();
  return parsed;
};

test("nothing is kept back, rests or sticks unless it is said", () => {
  expect(parse({})).toEqual({ reservations: [], cooldownMs: 0, sticky: false, exclude: [] });
});

test("all of it", () => {
  const { reservations, cooldownMs, sticky, exclude } = parse({
    reservations: [{ address: "fd00::5", pod: "kube-system/dns-*" }],
    cooldownSeconds: 0.5,
    sticky: true,
    exclude: ["10.0.0.9", "10.0.0.66/28"],
  });
  expect(reservations.map(({ address, pod }) => [formatAddress(address), pod])).toEqual([
    ["fd00::5", "kube-system/dns-*"],
  ]);
  expect([cooldownMs, sticky]).toEqual([500, true]);
  expect(exclude.map(formatNetwork)).toEqual(["10.0.0.9/32", "10.0.0.64/28"]);
});

test.each([
  ["a cooldown below zero", { cooldownSeconds: -1 }, "ipam.cooldownSeconds is -1"],
  ["a cooldown of more than a day", { cooldownSeconds: 90_000 }, "86400"],
  ["a stickiness that is no yes or no", { sticky: "yes" }, 'ipam.sticky is "yes"'],
  [
    "a reservation without a pod",
    { reservations: [{ address: "10.0.0.1" }] },
    "ipam.reservations[0].pod is missing",
  ],
  ["a pod without a namespace", { reservations: [{ address: "10.0.0.1", pod: "web" }] }, "NAMESPACE/NAME"],
  [
    "a reservation of no address",
    { reservations: [{ address: "x", pod: "a/b" }] },
    "ipam.reservations[0].address",
  ],
  [
    "a misspelt key",
    { reservations: [{ address: "10.0.0.1", pod: "a/b", ip: 1 }] },
    "ipam.reservations[0].ip",
  ],
  ["an exclusion that is none", { exclude: ["10.0.0.0/33"] }, "ipam.exclude[0]"],
  ["exclusions that are no list", { exclude: "10.0.0.1" }, "ipam.exclude is"],
])("%s is refused", (_title, ipam, said) => {
  expect(() => parse(ipam)).toThrow(said);
});

test.each([
  ["default/web", "default", "web", true],
  ["default/web", "default", "web-0", false],
  ["default/web-*", "default", "web-0", true],
  ["*/db", "prod", "db", true],
  ["*/*", "", "", false],
  ["a/*b*c", "a", "xbxc", true],
  ["a/*b*c", "a", "xcxb", false],
  ["a/x*x", "a", "x", false],
  ["a/*ab*ab", "a", "ab", false],
  ["a/*aa*", "a", `${"a".repeat(200)}`, true],
])("pattern %s and pod %s/%s: %s", (pattern, namespace, name, expected) => {
  expect(matchesPod(pattern, { namespace, name })).toBe(expected);
});
