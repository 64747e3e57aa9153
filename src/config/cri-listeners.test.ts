import { describe, expect, it } from "vitest";
import { criFileSchema } from "./cri.ts";
import { loadConfig } from "./load.ts";

const load = (listeners: string) =>
  loadConfig(criFileSchema, {
    file: { path: "c.yaml", text: `cri: { listeners: ${listeners} }` },
    overrides: [],
  }).cri.listeners;

const one = (more: string) =>
  `[{ name: agents, listen: "unix:///run/a.sock", methods: [read-only], ${more} }]`;

describe("the settings of listeners", () => {
  it("are none by default", () => {
    expect(load("[]")).toEqual([]);
  });

  it("have a path, numbers for modes, and groups and users as they were given", () => {
    expect(load(one('mode: "0660", group: kube-agents, uids: [0, 1000]'))).toEqual([
      {
        name: "agents",
        listen: "/run/a.sock",
        methods: ["read-only"],
        mode: 0o660,
        group: "kube-agents",
        uids: [0, 1000],
      },
    ]);
    expect(load(one("group: 12"))).toMatchObject([{ mode: 0o600, group: 12 }]);
  });

  it.each([
    [one("mode: 0660"), 'mode: must be text in quotes, such as "0660"'],
    [one('mode: "8888"'), "mode: must be three octal digits"],
    [one("uids: []"), "uids: must name a user, or be left out"],
    [one("uids: [-1]"), "uids[0]: must not be negative"],
    [one("uids: [4294967295]"), "uids[0]: must not be above"],
    [one("group: 'a:b'"), "group: "],
    [one("verbose: true"), "verbose: no such setting"],
    ['[{ name: a, listen: "unix:///a", methods: [] }]', "methods: must name a method or a group"],
    ['[{ name: a, listen: "unix:///a" }]', "methods: is missing"],
    ['[{ name: a, listen: "unix:///a", methods: [ListContainer] }]', "did you mean ListContainers?"],
    ['[{ name: a, listen: "unix:///a", methods: [readonly] }]', "did you mean read-only?"],
    ['[{ name: a, listen: "unix:///a", methods: [xyzzy] }]', "a group or /package.Service/Method"],
    ['[{ name: cri, listen: "unix:///a", methods: [all] }]', "name: must not be cri"],
    ['[{ name: "A b", listen: "unix:///a", methods: [all] }]', "name: must be lower-case"],
    ['[{ name: a, listen: "a.sock", methods: [all] }]', "listen: must be a socket"],
    [
      '[{ name: a, listen: "unix:///a", methods: [all] }, { name: a, listen: "unix:///b", methods: [all] }]',
      "two listeners have the same name",
    ],
    [
      '[{ name: a, listen: "unix:///a", methods: [all] }, { name: b, listen: "unix:/a", methods: [all] }]',
      "two listeners have the same socket",
    ],
    ['[{ name: a, listen: "unix:///run/trivet/cri.sock", methods: [all] }]', "the path of cri.listen"],
    ['[{ name: a, listen: "unix:///run/x/..//trivet/cri.sock", methods: [all] }]', "the path of cri.listen"],
    [
      '[{ name: a, listen: "unix:///run/containerd/containerd.sock", methods: [all] }]',
      "the path of cri.upstream",
    ],
    ['[], listen: "unix:///a", upstream: "unix:///a"', "the path of cri.upstream"],
  ])("refuse %s", (text, problem) => {
    let message = "";
    try {
      load(text);
    } catch (error) {
      message = String(error);
    }
    expect(message.replaceAll(" (c.yaml)", "")).toContain(problem);
  });
});
