import { describe, expect, test } from "vitest";
import { checkPools, type PoolConfig, parsePoolFlag } from "./config.ts";
import { parseQuantity } from "./quantity.ts";

describe("parseQuantity", () => {
  test.each([
    ["1", 1],
    ["10Gi", 10 * 2 ** 30],
    ["1.5Ti", 1.5 * 2 ** 40],
    ["500M", 5e8],
    ["2k", 2_000],
    ["2K", 2_000],
    ["3Ki", 3_072],
    ["1G", 1e9],
    ["1T", 1e12],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseQuantity("budget", text)).toBe(bytes);
  });

  test.each(["", "0", "-1", "1.5", "10gi", "10 Gi", "Gi", "1e9", "0x10", "99999999Ti", "1Mib"])(
    "refuses %j",
    (text) => {
      expect(() => parseQuantity("budget", text)).toThrow(`budget is "${text}"`);
    },
  );
});

describe("parsePoolFlag", () => {
  test.each<[string, PoolConfig]>([
    [
      "default=/var/lib/trivet/pool",
      { name: "default", path: "/var/lib/trivet/pool", backend: "auto", requireMount: false },
    ],
    ["fast=/mnt/fast/", { name: "fast", path: "/mnt/fast", backend: "auto", requireMount: true }],
    [
      "fast=/mnt/a=b,budget=10Gi,backend=directory,requireMount=false",
      {
        name: "fast",
        path: "/mnt/a=b",
        backend: "directory",
        budgetBytes: 10 * 2 ** 30,
        requireMount: false,
      },
    ],
    ["default=/d,requireMount=true", { name: "default", path: "/d", backend: "auto", requireMount: true }],
  ])("reads %s", (text, expected) => {
    expect(parsePoolFlag(text)).toEqual(expected);
  });

  test.each([
    ["default", 'pool "default" has no path'],
    ["=/d", 'pool name is ""'],
    ["Fast=/d", 'pool name is "Fast"'],
    ["a/b=/d", 'pool name is "a/b"'],
    ["a=d", 'path of pool "a" is "d"'],
    ["a=", 'path of pool "a" is ""'],
    ["a=/", 'path of pool "a" is "/"'],
    ["a=/d,size=1", 'pool "a" has the setting "size=1"'],
    ["a=/d,budget", 'pool "a" has the setting "budget"'],
    ["a=/d,budget=much", 'budget of pool "a" is "much"'],
    ["a=/d,budget=1,budget=2", 'pool "a" sets budget twice'],
    ["a=/d,backend=zfs", 'backend of pool "a" is "zfs": known are auto, quota, image, directory'],
    ["a=/d,requireMount=yes", 'requireMount of pool "a" is "yes"'],
  ])("refuses %s and says which part", (text, message) => {
    expect(() => parsePoolFlag(text)).toThrow(message);
  });
});

describe("checkPools", () => {
  test.each([
    [[], "no pool is configured"],
    [["a=/d", "a=/e"], 'pool "a" is configured twice'],
    [["a=/d", "b=/d"], 'pools "a" and "b" lie in one another'],
    [["a=/d/e/f", "b=/d/e"], 'pools "a" and "b" lie in one another'],
  ])("refuses %j", (flags, message) => {
    expect(() => checkPools(flags.map(parsePoolFlag))).toThrow(message);
  });

  test("lists every problem at once", () => {
    const flags = ["a=/d", "a=/e", "b=/e/f"];
    expect(() => checkPools(flags.map(parsePoolFlag))).toThrow(/configured twice.*lie in one another/);
  });

  test("accepts pools side by side, also where one path begins like the other", () => {
    expect(checkPools(["a=/d/pool", "b=/d/pool2"].map(parsePoolFlag))).toHaveLength(2);
  });
});
