import { describe, expect, it } from "vitest";
import { criFileSchema } from "./cri.ts";
import { ConfigError, loadConfig } from "./load.ts";

const file = (text: string) => ({ path: "/etc/trivet/config.yaml", text });

function problemsOf(text: string, overrides: { path: string; from: string; value: unknown }[] = []) {
  try {
    loadConfig(criFileSchema, { file: file(text), overrides });
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  return [];
}

describe("the configuration", () => {
  it("is complete with nothing given", () => {
    expect(loadConfig(criFileSchema, { overrides: [] })).toMatchObject({
      logLevel: "info",
      cri: {
        listen: "/run/trivet/cri.sock",
        upstream: "/run/containerd/containerd.sock",
        callLogLevels: { change: "all", poll: { every: 100 } },
        callLogSlowMs: 1_000,
        drainSeconds: 10_000,
      },
    });
  });

  it("takes levels of the call log over the defaults, and says what one looks like", () => {
    const load = (value: unknown) =>
      loadConfig(criFileSchema, {
        overrides: [{ path: "cri.callLogLevels", from: "--call-log-level", value }],
      });
    expect(load(["poll=errors", "exec=1:5"]).cri.callLogLevels).toMatchObject({
      ...{ poll: "errors", exec: { every: 5 }, change: "all" },
    });
    expect(() => load(["poll=some"])).toThrow("--call-log-level");
    expect(() => load(["poll=some"])).toThrow("must be CLASS=LEVEL");
  });

  it("takes the file over the defaults, and later overrides over the file", () => {
    const config = loadConfig(criFileSchema, {
      file: file("logLevel: warn\ncri:\n  listen: unix:///a.sock\n  upstream: unix:///b.sock\n"),
      overrides: [
        { path: "cri.listen", from: "environment variable X", value: "unix:///c.sock" },
        { path: "cri.listen", from: "--listen", value: "unix:///d.sock" },
      ],
    });
    expect(config.logLevel).toBe("warn");
    expect(config.cri).toMatchObject({ listen: "/d.sock", upstream: "/b.sock" });
  });

  it("lists every problem at once, each with its path and where it came from", () => {
    const text = "logLevel: loud\ncri:\n  lisen: unix:///a\n  policyDir: relative\n";
    const problems = problemsOf(text, [
      { path: "cri.upstream", from: "--upstream", value: "tcp://1.2.3.4" },
      { path: "cri.metricsAddress", from: "--metrics-address", value: "localhost" },
    ]);
    expect(problems).toEqual([
      expect.stringMatching(/^logLevel \(\/etc\/trivet\/config\.yaml\): must be one of debug/),
      expect.stringMatching(/^cri\.upstream \(--upstream\): must be a socket such as/),
      expect.stringMatching(/^cri\.policyDir \(\/etc\/trivet\/config\.yaml\): must be an absolute path/),
      expect.stringMatching(/^cri\.metricsAddress \(--metrics-address\): must be HOST:PORT/),
      expect.stringMatching(/^cri\.lisen \(\/etc\/trivet\/config\.yaml\): no such setting/),
    ]);
  });

  it.each([
    ["is broken", "cri: [", /config\.yaml: /],
    ["is a list", "- a\n", /must hold a mapping/],
    [
      "names a setting twice",
      "cri: {}\ncri: {}\n",
      /^\/etc\S+: Map keys must be unique at line 2, column 1$/,
    ],
    ["holds several documents", "cri: {}\n---\ncri: {}\n", /config\.yaml: must hold one document/],
    ["uses an alias of nothing", "cri: *x\n", /config\.yaml: Unresolved alias/],
    ["has text for a section", "cri: socket\n", /^cri \(\/etc\S+\): must be a mapping of settings$/],
    ["has an empty section", "cri:\n", /^cri \(\/etc\S+\): is empty: give it a value, or leave it out$/],
    ["has an empty setting", "cri: { listen: }\n", /^cri\.listen \(\/etc\S+\): is empty/],
  ])("refuses a file that %s", (_, text, expected) => {
    expect(problemsOf(text)).toEqual([expect.stringMatching(expected)]);
  });

  it("lets no override hide that a section is none", () => {
    const override = { path: "cri.listen", from: "--listen", value: "unix:///a.sock" };
    expect(problemsOf("cri: 4\n", [override])).toEqual([
      "cri (/etc/trivet/config.yaml): must be a mapping of settings",
    ]);
  });

  it.each([
    ["127.0.0.1:0", { host: "127.0.0.1", port: 0 }],
    ["[::1]:9808", { host: "::1", port: 9808 }],
    ["localhost:65536", undefined],
    ["::1:80", undefined],
    ["[localhost]:80", undefined],
  ])("reads the address %s", (value, expected) => {
    const overrides = [{ path: "cri.metricsAddress", from: "--metrics-address", value }];
    if (expected) expect(loadConfig(criFileSchema, { overrides }).cri.metricsAddress).toEqual(expected);
    else expect(() => loadConfig(criFileSchema, { overrides })).toThrow(ConfigError);
  });

  it("refuses a socket path that the system would not take, before anything is started", () => {
    const overrides = [{ path: "cri.upstream", from: "--upstream", value: `unix:///${"x".repeat(107)}` }];
    expect(() => loadConfig(criFileSchema, { overrides })).toThrow("must not be longer than 107 bytes");
    const longest = [{ path: "cri.upstream", from: "--upstream", value: `unix:///${"x".repeat(106)}` }];
    expect(loadConfig(criFileSchema, { overrides: longest }).cri.upstream).toHaveLength(107);
  });

  it("reads seconds from a flag and from the file alike", () => {
    const fromFile = loadConfig(criFileSchema, { file: file("cri: { drainSeconds: 2.5 }"), overrides: [] });
    const override = { path: "cri.drainSeconds", from: "--drain-seconds", value: "2.5" };
    expect(fromFile.cri.drainSeconds).toBe(2_500);
    expect(loadConfig(criFileSchema, { overrides: [override] }).cri.drainSeconds).toBe(2_500);
    expect(problemsOf("cri: { drainSeconds: soon }")).toHaveLength(1);
  });
});
