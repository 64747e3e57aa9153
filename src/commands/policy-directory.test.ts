import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { silentLog } from "../observe/log.ts";
import {
  openPolicyDirectory,
  type PolicyDirectory,
  type PolicyDirectoryOptions,
  readPolicyDirectory,
} from "./policy-directory.ts";
import { watchDirectory } from "./policy-watch.ts";

const policy = (name: string) => `
apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: ${name} }
spec: { methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: { A: b } }] }
`;

let root: string;
let directory: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-policies-"));
  directory = join(root, "policies");
  await mkdir(directory);
});
const opened: PolicyDirectory[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await rm(root, { recursive: true });
});

const put = (file: string, text: string) => writeFile(join(directory, file), text);

describe("a directory of policies", () => {
  it("is read in the order of its files' names, without what is hidden and what is no YAML", async () => {
    await put("20-b.yaml", policy("b"));
    await put("10-a.yml", policy("a"));
    await put(".30-c.yaml", "kind: Other");
    await put("README", "kind: Other");
    expect((await readPolicyDirectory(directory)).map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("that has a bad file among good ones gives none of them, and names the file", async () => {
    await put("a.yaml", policy("a"));
    await put("b.yaml", "kind: Other");
    await expect(readPolicyDirectory(directory)).rejects.toThrow(/b\.yaml: kind: must be RuntimePolicy/);
  });

  it("with files that cannot be read is refused with the name of each", async () => {
    for (const name of ["a.yaml", "b.yaml"]) await mkdir(join(directory, name));
    await expect(readPolicyDirectory(directory)).rejects.toThrow(/a\.yaml: EISDIR\n.*b\.yaml: EISDIR/);
  });

  it("with a file that is no text is refused with its name, and nobody waits for it", async () => {
    await promisify(execFile)("mkfifo", [join(directory, "a.yaml")]);
    await symlink("/dev/zero", join(directory, "b.yaml"));
    await writeFile(join(directory, "c.yaml"), Buffer.from(policy("caf\u00e9"), "latin1"));
    await writeFile(join(directory, "d.yaml"), Buffer.alloc(5 << 20, "#"));
    const message = await readPolicyDirectory(directory).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(message.split("\n").slice(1)).toEqual([
      expect.stringMatching(/a\.yaml: is no plain file/),
      expect.stringMatching(/b\.yaml: is no plain file/),
      expect.stringMatching(/c\.yaml: is not in UTF-8/),
      expect.stringMatching(/d\.yaml: is larger than 4194304 bytes/),
    ]);
  });

  it("that is not there is refused: a node without its policies is not what was asked for", async () => {
    const missing = join(directory, "missing");
    await expect(readPolicyDirectory(missing)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(`${missing}: ENOENT`),
    });
  });
});

describe("the policies in force", () => {
  async function open(options: Partial<PolicyDirectoryOptions> = {}) {
    const results: string[] = [];
    const errors: string[] = [];
    const log = { ...silentLog, error: (message: string) => errors.push(message) };
    const onReload = (result: string) => results.push(result);
    const found = await openPolicyDirectory({ directory, log, onReload, ...options });
    opened.push(found);
    const names = () => found.engine.policies.map(({ name }) => name);
    return { ...found, reload: () => found.reload(), problem: () => found.problem(), names, results, errors };
  }

  it("are those of the directory after a reload", async () => {
    await put("a.yaml", policy("a"));
    const { reload, names } = await open();
    await put("b.yaml", policy("b"));
    expect(await reload()).toEqual({ ok: true, policies: ["a", "b"] });
    await rm(join(directory, "a.yaml"));
    await reload();
    expect(names()).toEqual(["b"]);
  });

  it("are told about in the log where they say what cannot be meant", async () => {
    const warnings: unknown[] = [];
    const log = { ...silentLog, warn: (...said: unknown[]) => void warnings.push(said) };
    await put(
      "a.yaml",
      `
apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: a }
spec: { methods: [CreateContainer], namespaces: ["team-*"], validations: [{ expression: "false" }] }
`,
    );
    opened.push(await openPolicyDirectory({ directory, log }));
    expect(JSON.stringify(warnings)).toContain("a.yaml: spec.namespaces.0: no namespace can have this name");
  });

  it("stay as they are for one bad file, which is told once, until all are good again", async () => {
    await put("a.yaml", policy("a"));
    const { reload, names, problem, results, errors } = await open();
    await put("a.yaml", policy("changed"));
    await put("b.yaml", "kind: Other");
    expect(await reload()).toMatchObject({
      ok: false,
      policies: ["a"],
      error: expect.stringContaining("b.yaml: kind"),
    });
    await reload();
    expect(names()).toEqual(["a"]);
    expect(problem()).toContain("b.yaml: kind");
    expect(errors).toHaveLength(1);
    await rm(join(directory, "b.yaml"));
    expect(await reload()).toEqual({ ok: true, policies: ["changed"] });
    expect(problem()).toBeUndefined();
    expect(results.at(-1)).toBe("ok");
  });

  it("stay as they are when the directory goes away", async () => {
    await put("a.yaml", policy("a"));
    const { reload, names } = await open();
    await rm(directory, { recursive: true });
    expect(await reload()).toMatchObject({ ok: false });
    expect(names()).toEqual(["a"]);
  });

  it("follow an edit, a file put in its place and one that is removed, by themselves", async () => {
    await put("a.yaml", policy("a"));
    const { names } = await open();
    await put("a.yaml", policy("edited"));
    await vi.waitFor(() => expect(names()).toEqual(["edited"]), { timeout: 10_000 });
    await writeFile(join(root, "new.yaml"), policy("renamed"));
    await rename(join(root, "new.yaml"), join(directory, "a.yaml"));
    await vi.waitFor(() => expect(names()).toEqual(["renamed"]), { timeout: 10_000 });
    await rm(join(directory, "a.yaml"));
    await vi.waitFor(() => expect(names()).toEqual([]), { timeout: 10_000 });
  });

  it("follow the swap of a link, which is how a ConfigMap is mounted", async () => {
    for (const version of ["1", "2"]) {
      await mkdir(join(directory, `..${version}`));
      await writeFile(join(directory, `..${version}`, "a.yaml"), policy(`version-${version}`));
    }
    await symlink("..1", join(directory, "..data"));
    await symlink("..data/a.yaml", join(directory, "a.yaml"));
    const { names } = await open();
    expect(names()).toEqual(["version-1"]);
    await symlink("..2", join(directory, "..tmp"));
    await rename(join(directory, "..tmp"), join(directory, "..data"));
    await vi.waitFor(() => expect(names()).toEqual(["version-2"]), { timeout: 10_000 });
  });

  it("are the last good ones after a start with a bad file, where they were kept", async () => {
    const cacheFile = join(root, "state", "kept.json");
    await put("a.yaml", policy("a"));
    await open({ cacheFile });
    expect((await stat(cacheFile)).mode & 0o777).toBe(0o600);
    await put("b.yaml", "kind: Other");
    await expect(open()).rejects.toThrow(/b\.yaml/);
    const again = await open({ cacheFile });
    expect(again.names()).toEqual(["a"]);
    expect(again.problem()).toContain("b.yaml");
    expect(again.errors).toHaveLength(1);
    await rm(join(directory, "b.yaml"));
    expect(await again.reload()).toEqual({ ok: true, policies: ["a"] });
  });

  it("are not taken from what was kept for another directory, or is torn", async () => {
    const cacheFile = join(root, "kept.json");
    await put("a.yaml", policy("a"));
    await open({ cacheFile });
    const kept = await readFile(cacheFile, "utf8");
    await put("b.yaml", "kind: Other");
    await writeFile(cacheFile, kept.slice(0, 40));
    await expect(open({ cacheFile })).rejects.toThrow(/b\.yaml/);
    await writeFile(cacheFile, kept.replace(directory, "/elsewhere"));
    await expect(open({ cacheFile })).rejects.toThrow(/b\.yaml/);
  });
});

describe("a watch of a directory", () => {
  it("sees by looking what the kernel sends no note of: another directory by the same name", async () => {
    await put("a.yaml", "1");
    let changes = 0;
    const onChange = () => {
      changes += 1;
    };
    const watch = watchDirectory({
      directory,
      wanted: /yaml$/,
      onChange,
      onError: () => undefined,
      settleMs: 1,
      pollMs: 5,
    });
    try {
      await vi.waitFor(async () => {
        await writeFile(join(directory, "a.yaml"), String(changes));
        expect(changes).toBeGreaterThan(0);
      });
      await mkdir(join(root, "other"));
      await writeFile(join(root, "other", "a.yaml"), "2");
      await rename(directory, join(root, "old"));
      await rename(join(root, "other"), directory);
      const before = changes;
      await vi.waitFor(() => expect(changes).toBeGreaterThan(before));
      const then = changes;
      await put("b.yaml", "3");
      await vi.waitFor(() => expect(changes).toBeGreaterThan(then));
    } finally {
      watch.close();
    }
  });

  it("waits for nobody who writes all the time", async () => {
    let changes = 0;
    const watch = watchDirectory({
      directory,
      wanted: /^a$/,
      onChange: () => {
        changes += 1;
      },
      onError: (error) => {
        throw error;
      },
      settleMs: 200,
      pollMs: 60_000,
    });
    let written = 0;
    const write = (file: string) =>
      void writeFile(join(directory, file), `${written++}`).catch(() => undefined);
    const writers = ["a", "b"].map((file) => setInterval(() => write(file), 50));
    try {
      await vi.waitFor(() => expect(changes).toBeGreaterThan(0), { timeout: 10_000 });
    } finally {
      for (const writer of writers) clearInterval(writer);
    }
    watch.close();
  });

  it("of one that is not there says so once, and finds it when it comes", async () => {
    let [changes, errors] = [0, 0];
    const missing = join(root, "later");
    const watch = watchDirectory({
      directory: missing,
      wanted: /yaml$/,
      onChange: () => {
        changes += 1;
      },
      onError: () => {
        errors += 1;
      },
      settleMs: 1,
      pollMs: 5,
    });
    try {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await mkdir(missing);
      await vi.waitFor(() => expect(changes).toBeGreaterThan(0));
      expect(errors).toBe(1);
    } finally {
      watch.close();
    }
  });
});
