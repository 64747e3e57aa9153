import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkRules, checkTree } from "./layers/check.ts";
import { importsOf, type Tree } from "./layers/imports.ts";
import { rules, socketEdges } from "./layers/rules.ts";

const root = join(import.meta.dirname, "..");

function readTree(): Tree {
  const paths = globSync(["src/**/*.ts", "test/**/*.ts"], { cwd: root });
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

describe("the layers", () => {
  it("are kept by every source file", () => {
    const tree = readTree();
    expect(tree.size).toBeGreaterThan(100);
    expect(checkTree(tree)).toEqual([]);
  });

  it("have a rule for every edge, and a reason for every forbidden one", () => {
    expect(checkRules()).toEqual([]);
    for (const { never, typesOnly } of Object.values(rules)) {
      for (const reason of [...Object.values(never), ...Object.values(typesOnly ?? {})]) {
        expect(reason.length).toBeGreaterThan(20);
      }
    }
  });

  it("name no edge file that is gone", () => {
    const tree = readTree();
    expect(socketEdges.filter((path) => !tree.has(path))).toEqual([]);
  });
});

const opening = "/** What it owns. */\n";

/** A made-up file, and the breach that must be found in it; undefined where there is none. */
const cases: readonly (readonly [title: string, path: string, source: string, breach: string | undefined])[] =
  [
    [
      "a leg that imports another",
      "src/csi/a.ts",
      'import { b } from "../cni/b.ts";',
      "imports src/cni/b.ts: the legs never",
    ],
    [
      "even for a type",
      "src/cni/a.ts",
      'import type { B } from "../cri/b.ts";',
      "imports src/cri/b.ts: the legs never",
    ],
    [
      "by a re-export",
      "src/csi/a.ts",
      'export { b } from "../cri/b.ts";',
      "imports src/cri/b.ts: the legs never",
    ],
    [
      "by a whole re-export",
      "src/csi/a.ts",
      'export * from "../cri/b.ts";',
      "imports src/cri/b.ts: the legs never",
    ],
    [
      "by a dynamic import",
      "src/csi/a.ts",
      'const b = await import("../cni/b.ts");',
      "imports src/cni/b.ts: the legs never",
    ],
    ["for its side effect", "src/csi/a.ts", 'import "../cni/b.ts";', "imports src/cni/b.ts: the legs never"],
    [
      "over several lines",
      "src/csi/a.ts",
      'import {\n  b,\n  c,\n} from "../cni/b.ts";',
      "imports src/cni/b.ts: the legs never",
    ],
    [
      "a comment about an import",
      "src/csi/a.ts",
      '// import { b } from "../cni/b.ts";\n/*\nimport "../cni/b.ts";\n*/',
      undefined,
    ],
    ["a type of a host effect", "src/csi/a.ts", 'import type { Files } from "../host/files.ts";', undefined],
    [
      "a host implementation",
      "src/csi/a.ts",
      'import { createFiles, type Files } from "../host/files.ts";',
      "imports createFiles from src/host/files.ts: a leg gets host effects",
    ],
    [
      "a pure value of a host file",
      "src/csi/a.ts",
      'import { replaceFile, type Files } from "../host/files.ts";',
      undefined,
    ],
    [
      "a type that loads the module",
      "src/csi/a.ts",
      'import { type Files } from "../host/files.ts";',
      'loads src/host/files.ts for types only: write "import type"',
    ],
    [
      "a host effect that logs",
      "src/host/a.ts",
      'import type { Log } from "../observe/log.ts";',
      "imports src/observe/log.ts: an effect reports",
    ],
    [
      "a type of the host in the proxy",
      "src/cri/a.ts",
      'import type { Clock } from "../host/clock.ts";',
      "imports src/host/clock.ts: the proxy has only sockets",
    ],
    [
      "a leg that reads files by itself",
      "src/csi/a.ts",
      'import { readFile } from "node:fs/promises";',
      "imports node:fs/promises: a leg touches",
    ],
    [
      "a socket in the middle of a leg",
      "src/cni/a.ts",
      'import { connect } from "node:net";',
      "imports node:net: a leg touches",
    ],
    ["paths in a leg", "src/csi/a.ts", 'import { join } from "node:path";', undefined],
    [
      "koffi elsewhere",
      "src/host/mount.ts",
      'import koffi from "koffi";',
      "imports koffi: koffi checks nothing",
    ],
    [
      "koffi in its place",
      "src/host/syscall.ts",
      'import koffi, { type LibraryHandle } from "koffi";',
      undefined,
    ],
    [
      "a package that nobody decided on",
      "src/host/a.ts",
      'import x from "left-pad/sub";',
      "imports left-pad/sub: no rule says",
    ],
    [
      "errors that import",
      "src/errors.ts",
      'import { x } from "./host/errno.ts";',
      "imports src/host/errno.ts: everything imports the errors",
    ],
    [
      "a part that knows its verb",
      "src/observe/a.ts",
      'import { x } from "../commands/node.ts";',
      "imports src/commands/node.ts: verbs compose",
    ],
    [
      "a folder without rules",
      "src/stuff/a.ts",
      'import { x } from "../errors.ts";',
      "the rules name no folder for src/stuff/a.ts",
    ],
    [
      "production code that needs a fake",
      "src/commands/node.ts",
      'import { x } from "../../test/fakes/x.ts";',
      "imports test/fakes/x.ts: what is shipped",
    ],
    [
      "the demo, which plays the kubelet",
      "src/commands/demo/pod.ts",
      'import { x } from "../../../test/fakes/kubelet/pod.ts";',
      undefined,
    ],
    [
      "the demo, with a test",
      "src/commands/demo/pod.ts",
      'import { x } from "../../../test/layers/check.ts";',
      "imports test/layers/check.ts: what is shipped",
    ],
    [
      "a test's own tools in production",
      "src/cri/a.ts",
      'import { x } from "./tap/testing/x.ts";',
      "imports src/cri/tap/testing/x.ts: what is shipped",
    ],
    [
      "a test's own tools, with sockets",
      "src/cri/tap/testing/x.ts",
      'import http2 from "node:http2";',
      undefined,
    ],
    ["the environment in a leg", "src/cni/a.ts", "const path = process.env.PATH;", "uses process.env"],
    ["the exit code in a host effect", "src/host/a.ts", "process.exitCode = 1;", "uses process.exitCode"],
    ["argv in a verb", "src/commands/a.ts", "const args = process.argv;", undefined],
    ["the process in a comment", "src/host/a.ts", "// process.exit is for verbs\n", undefined],
    ["a name that says nothing", "src/csi/utils.ts", "", "the name utils does not say"],
    ["too long a file", "src/csi/a.ts", "\n".repeat(400), "has 401 lines"],
    [
      "a fake that needs the test framework",
      "test/fakes/a.ts",
      'import { expect } from "vitest";',
      "imports vitest: the demo runs",
    ],
  ];

describe("the check", () => {
  it.each(cases)("judges %s", (_, path, source, breach) => {
    const breaches = checkTree(new Map([[path, opening + source]]));
    if (breach === undefined) expect(breaches).toEqual([]);
    else expect(breaches).toContainEqual(expect.stringContaining(breach));
  });

  it("wants a comment at the top", () => {
    const check = (source: string) => checkTree(new Map([["src/csi/a.ts", source]]));
    expect(check("export const a = 1;\n")).toEqual(["src/csi/a.ts: does not open with a comment"]);
    expect(check("/**\n * What it owns.\n */\nexport const a = 1;\n")).toEqual([]);
    expect(check("// What it owns.\nexport const a = 1;\n")).toEqual([]);
  });

  it("follows what the proxy reaches by way of others", () => {
    const file = (source: string) => opening + source;
    const tree = new Map([
      ["src/commands/cri.ts", file('import { load } from "../config/cri.ts";')],
      ["src/config/cri.ts", file('import { parse } from "./values.ts";')],
      [
        "src/config/values.ts",
        file('import type { T } from "../cni/t.ts";\nimport { q } from "../csi/q.ts";'),
      ],
      ["src/csi/q.ts", file("export const q = 1;")],
    ]);
    expect(checkTree(tree)).toEqual([
      "src/commands/cri.ts: reaches src/csi/q.ts by src/commands/cri.ts -> src/config/cri.ts -> src/config/values.ts -> src/csi/q.ts: the proxy stands alone",
    ]);
  });

  it("lets the proxy load one file that has native code, and only when it is needed", () => {
    const file = (source: string) => opening + source;
    const native = ["src/host/peer-credentials.ts", file('import { x } from "./syscall.ts";')] as const;
    const check = (verb: string) => checkTree(new Map([["src/commands/cri.ts", file(verb)], native]));
    expect(check('const p = await import("../host/peer-credentials.ts");')).toEqual([]);
    expect(check('import { p } from "../host/peer-credentials.ts";')).toEqual([
      expect.stringContaining("src/commands/cri.ts: loads src/host/peer-credentials.ts at once"),
    ]);
  });

  it("reads every form of import", () => {
    const source = [
      'import a, { b as c, type D } from "./x.ts";',
      'import type { E } from "pkg";',
      'export type { F } from "@scope/pkg/sub";',
      'import * as g from "node:fs";',
      'type H = import("node:net").Socket;',
      'const i = await import("./lazy.ts");',
    ].join("\n");
    expect(importsOf("src/csi/a.ts", source)).toEqual([
      { target: "src/csi/x.ts", typeOnly: false, values: ["default", "b"] },
      { target: "pkg", typeOnly: true, values: [] },
      { target: "@scope/pkg/sub", typeOnly: true, values: [] },
      { target: "node:fs", typeOnly: false, values: ["*"] },
      { target: "src/csi/lazy.ts", typeOnly: false, values: ["*"], dynamic: true },
    ]);
  });
});
