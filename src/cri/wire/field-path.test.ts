import { describe, expect, it } from "vitest";
import { fieldNumbers, keyText, resolvePath } from "./field-path.ts";

const create = "CreateContainerRequest";
const stepsOf = (path: string) =>
  resolvePath(create, path).steps.map(({ number, selector }) =>
    selector ? [number, selector.by === "key" ? selector.key : selector.index] : number,
  );

describe("a path to a field", () => {
  it.each([
    ["pod_sandbox_id", [1]],
    ["config.linux.resources.memory_limit_in_bytes", [2, 15, 1, 4]],
    ["config.envs[HTTP_PROXY]", [2, [6, "HTTP_PROXY"]]],
    ["config.labels[app.kubernetes.io/name]", [2, [9, "app.kubernetes.io/name"]]],
    ['config.labels["a]b\\"c"]', [2, [9, 'a]b"c']]],
    ["config.labels[8080]", [2, [9, "8080"]]],
    ["config.mounts[2].readonly", [2, [7, 2], 3]],
    ["config.mounts[/data].readonly", [2, [7, "/data"], 3]],
    ['config.envs["0"]', [2, [6, "0"]]],
    ["config.linux.security_context.masked_paths[/proc/kcore]", [2, 15, 2, [13, "/proc/kcore"]]],
    ["config.#99", [2, 99]],
    ["config.#99.#3", [2, 99, 3]],
    ["#2.#10", [2, 10]],
  ])("%s is resolved to numbers", (path, steps) => {
    expect(stepsOf(path)).toEqual(steps);
  });

  it("knows a field that goes by its number, if the API has it", () => {
    expect(resolvePath(create, "config.#10").last.field?.name).toBe("annotations");
    expect(resolvePath(create, "config.#99").last.field).toBeUndefined();
  });

  it.each([
    ["", "a field's name is missing at character 1"],
    ["config.", "a field's name is missing at character 8"],
    ["config..tty", "a field's name is missing at character 8"],
    ["config.labels[a", "the bracket at character 14 is empty or has no end"],
    ["config.labels[]", "the bracket at character 14 is empty or has no end"],
    ["config.labels[a]b", "expected a dot at character 17"],
    ["config.labels[a].b", "config.labels[a] is of the type string, which has no fields"],
    ["config.tty.x", "config.tty is of the type bool, which has no fields"],
    ["config.tty[0]", 'config.tty is neither a list nor a map: leave out ["0"]'],
    ["config.mounts.readonly", "config.mounts is a list: say which element, as in config.mounts[name]"],
    [
      "sandbox_config.port_mappings[http]",
      "have no names: write an index, as in sandbox_config.port_mappings[0]",
    ],
    [
      "config.linux.rsources",
      "LinuxContainerConfig has no field rsources, did you mean resources? (it has resources, security_context)",
    ],
    ["config.readOnly", "ContainerConfig has no field readOnly"],
    ["config.workingDir", "did you mean working_dir?"],
    ["cfg", "CreateContainerRequest has no field cfg (it has pod_sandbox_id, config, sandbox_config)"],
    ["config.#0", "#0 is no field number"],
    ["config.#536870912", "#536870912 is no field number"],
    ["config.#99.name", "what is below an unknown field has no names"],
    ["config.#99[1]", "config.#99 is unknown: its elements cannot be told apart"],
    ["a".repeat(2_000), "is longer than 1024 characters"],
  ])("%s is refused with what is wrong with it", (path, why) => {
    expect(() => resolvePath(create, path)).toThrow(expect.objectContaining({ kind: "invalid" }));
    expect(() => resolvePath(create, path)).toThrow(why);
  });

  it("gives the numbers that a MessageReader takes", () => {
    expect(fieldNumbers(create, "sandbox_config.metadata.namespace")).toEqual([3, 1, 3]);
  });

  it.each([
    ["app", "[app]"],
    ["8080", '["8080"]'],
    ["a]b", '["a]b"]'],
    ["a b\n", '["a b\\n"]'],
  ])("writes the key %j so that it can be read again", (key, text) => {
    expect(keyText(key)).toBe(text);
    expect(resolvePath(create, `config.labels${text}`).last.selector).toEqual({ by: "key", key });
  });
});
