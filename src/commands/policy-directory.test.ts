import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readPolicyDirectory } from "./policy-directory.ts";

const policy = (name: string) => `
apiVersion: trivet.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: ${name} }
spec: { methods: [CreateContainer], mutations: [{ op: add, path: config.envs, values: { A: b } }] }
`;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-policies-"));
});
afterEach(() => rm(directory, { recursive: true }));

describe("a directory of policies", () => {
  it("is read in the order of its files' names, without what is hidden and what is no YAML", async () => {
    await writeFile(join(directory, "20-b.yaml"), policy("b"));
    await writeFile(join(directory, "10-a.yml"), policy("a"));
    await writeFile(join(directory, ".30-c.yaml"), "kind: Other");
    await writeFile(join(directory, "README"), "kind: Other");
    expect((await readPolicyDirectory(directory)).map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("that has a bad file among good ones gives none of them, and names the file", async () => {
    await writeFile(join(directory, "a.yaml"), policy("a"));
    await writeFile(join(directory, "b.yaml"), "kind: Other");
    await expect(readPolicyDirectory(directory)).rejects.toThrow(/b\.yaml: kind: must be RuntimePolicy/);
  });

  it("with files that cannot be read is refused with the name of each", async () => {
    for (const name of ["a.yaml", "b.yaml"]) await mkdir(join(directory, name));
    await expect(readPolicyDirectory(directory)).rejects.toThrow(/a\.yaml: EISDIR\n.*b\.yaml: EISDIR/);
  });

  it("that is not there is refused: a node without its policies is not what was asked for", async () => {
    const missing = join(directory, "missing");
    await expect(readPolicyDirectory(missing)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(`${missing}: ENOENT`),
    });
  });
});
