import { describe, expect, it } from "vitest";
import type { CallRecord } from "../../cri/record/call-record.ts";
import { createCallTable } from "./calls-table.ts";
import { bar, formatMs } from "./terminal.ts";

const plain = { colour: false };
const base: CallRecord = {
  ...{ time: "2026-11-21T10:00:00.123Z", method: "Version", status: "OK" },
  ...{ totalMs: 1, runtimeMs: 0.9, oursMs: 0.05, heldMs: 0, requestBytes: 1, responseBytes: 1 },
};

describe("the table of calls", () => {
  it("tells who, how long, and what a policy made of it", () => {
    const text = createCallTable(plain).add([
      { ...base, sample: 100 },
      {
        ...{ ...base, method: "CreateContainer", namespace: "shop", pod: "web-0", container: "main" },
        ...{ status: "PERMISSION_DENIED", denied: { policy: "no-root", message: "not here" } },
        policies: [
          { policy: "no-root", action: "denied" },
          { policy: "proxy", action: "audited" },
        ],
      },
      { ...base, method: "PullImage", image: "web:1", runtimeMs: 61_000, listener: "agents" },
    ]);
    expect(text).toBe(
      `TIME (UTC)          METHOD            POD                   CONTAINER   STATUS             RUNTIME  OURS     NOTE
11-21 10:00:00.123  Version           -                     -           OK                 900us    50us     one of 100
11-21 10:00:00.123  CreateContainer   shop/web-0            main        PERMISSION_DENIED  900us    50us     denied by no-root: not here; audited by proxy
11-21 10:00:00.123  PullImage         -                     -           OK                 1m01s    50us     web:1; by agents
`,
    );
  });

  it("has one heading, and columns that only grow", () => {
    const table = createCallTable(plain);
    expect(table.add([])).toBe("");
    const first = table.add([base]);
    const second = table.add([{ ...base, namespace: "n".repeat(30), pod: "p" }]);
    expect(first).toContain("METHOD");
    expect(second).not.toContain("METHOD");
    expect(second.indexOf("OK")).toBeGreaterThan((first.split("\n")[1] ?? "").indexOf("OK"));
  });

  it("lets no name from a request move the cursor", () => {
    const evil = "\u001b[2J\u009b1mx\n";
    const text = createCallTable(plain).add([
      { ...base, method: evil, namespace: evil, pod: evil, container: evil, image: evil, listener: evil },
      { ...base, sandboxId: evil, containerId: evil, denied: { policy: evil, message: evil } },
    ]);
    expect(text.replaceAll("\n", "")).toMatch(/^[\x20-\x7e]*$/);
    expect(text.split("\n")).toHaveLength(4);
  });

  it("has colours only where they are wanted, and the same columns with them", () => {
    const colour = createCallTable({ colour: true }).add([base, { ...base, status: "UNKNOWN" }]);
    expect(colour).toContain("\u001b[31mUNKNOWN\u001b[0m");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
    const bare = colour.replace(/\u001b\[\d+m/g, "");
    expect(bare).toBe(createCallTable(plain).add([base, { ...base, status: "UNKNOWN" }]));
  });
});

it.each([
  [undefined, "-"],
  [Number.NaN, "-"],
  [0.085, "85us"],
  [21.44, "21.4ms"],
  [999.4, "999ms"],
  [1_250, "1.25s"],
  [185_000, "3m05s"],
])("%s ms are %s", (ms, expected) => {
  expect(formatMs(ms)).toBe(expected);
});

it.each([
  [0, ""],
  [0.001, "▏"],
  [0.5, "█████"],
  [1, "██████████"],
  [7, "██████████"],
])("a share of %d is drawn as %j", (share, expected) => {
  expect(bar(share, 10)).toBe(expected);
});
