import { expect, it } from "vitest";
import { findHostProcess, type ProcessFacts } from "./host-process.ts";

const unseen: ProcessFacts = { mountNamespace: undefined, parent: undefined, name: "" };

/** Processes by pid; those that are not named may not be looked at. */
const among = (processes: Readonly<Record<string, Partial<ProcessFacts>>>) => async (pid: string) => ({
  ...unseen,
  ...processes[pid],
});

it.each([
  [
    "none, on the host itself",
    { self: { mountNamespace: "host" }, "1": { mountNamespace: "host" } },
    undefined,
  ],
  [
    "the first one, in a container",
    { self: { mountNamespace: "pod" }, "1": { mountNamespace: "host" } },
    "1",
  ],
  [
    "what started the container, where the first one may not be looked at",
    {
      self: { mountNamespace: "pod", parent: "40" },
      "40": { mountNamespace: "pod", parent: "30", name: "sh" },
      "30": { mountNamespace: "host", parent: "1", name: "containerd-shim" },
    },
    "30",
  ],
  [
    "none, where only the first one is left to ask",
    {
      self: { mountNamespace: "host", parent: "9" },
      "9": { mountNamespace: "host", parent: "1", name: "bash" },
    },
    undefined,
  ],
  [
    "none of those that are not known to be on the host",
    { self: { mountNamespace: "a", parent: "9" }, "9": { mountNamespace: "b", parent: "1", name: "bash" } },
    undefined,
  ],
])("finds %s", async (_, processes, expected) => {
  expect(await findHostProcess(among(processes))).toBe(expected);
});
