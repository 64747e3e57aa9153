import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TrivetError } from "../../errors.ts";
import { createRandom } from "../tap/testing/random.ts";
import { bytesField, entryField, nested, tag, varint } from "./encode.ts";
import { applyMutations, compileMutation, laterValue, type MutationSpec, withValue } from "./mutation.ts";
import { jsonText, readMessage } from "./read.ts";
import { randomMessage } from "./testing/random-message.ts";
import { encodeMessage } from "./value.ts";

const create = "CreateContainerRequest";
const message = (value: unknown, name = create) => encodeMessage(name, value, "");
const compile = (spec: MutationSpec, name = create) => compileMutation(name, spec);
const apply = (bytes: Uint8Array, ...specs: MutationSpec[]) =>
  applyMutations(
    bytes,
    specs.map((spec) => compile(spec)),
  );
const read = (bytes: Uint8Array, name = create) => readMessage(name, bytes, { redact: false });
const join = (...parts: Uint8Array[]) => Buffer.concat(parts);
const linux = (value: object) => ({ config: { linux: value } });

/** A change, and the message before and after it, as far as it says anything. */
const edits: [string, object, MutationSpec, object, object[]][] = [
  [
    "sets a scalar, and makes what holds it",
    {},
    { op: "set", path: "config.linux.resources.cpu_quota", value: 100 },
    linux({ resources: { cpu_quota: 100n } }),
    [{ field: "config.linux.resources.cpu_quota", outcome: "added", after: "100" }],
  ],
  [
    "sets a scalar to zero, explicitly",
    linux({ security_context: { privileged: true } }),
    { op: "set", path: "config.linux.security_context.privileged", value: false },
    linux({ security_context: { privileged: false } }),
    [
      {
        field: "config.linux.security_context.privileged",
        outcome: "changed",
        before: "true",
        after: "false",
      },
    ],
  ],
  [
    "takes a number of 64 bits as text",
    {},
    { op: "set", path: "config.linux.resources.memory_limit_in_bytes", value: "9223372036854775807" },
    linux({ resources: { memory_limit_in_bytes: 9223372036854775807n } }),
    [
      {
        field: "config.linux.resources.memory_limit_in_bytes",
        outcome: "added",
        after: "9223372036854775807",
      },
    ],
  ],
  [
    "sets an enum by name",
    { config: { stop_signal: "SIGINT" } },
    { op: "set", path: "config.stop_signal", value: "SIGTERM" },
    { config: { stop_signal: "SIGTERM" } },
    [{ field: "config.stop_signal", outcome: "changed", before: '"SIGINT"', after: '"SIGTERM"' }],
  ],
  [
    "adds only what is not set: a limit stays",
    linux({ resources: { memory_limit_in_bytes: 5 } }),
    { op: "add", path: "config.linux.resources", values: { memory_limit_in_bytes: 9, cpu_shares: 2 } },
    linux({ resources: { memory_limit_in_bytes: 5n, cpu_shares: 2n } }),
    [
      { field: "config.linux.resources.memory_limit_in_bytes", outcome: "kept", before: "5" },
      { field: "config.linux.resources.cpu_shares", outcome: "added", after: "2" },
    ],
  ],
  [
    "overrides a variable of the environment: one remains, where the first was",
    {
      config: {
        envs: [
          { key: "A", value: "1" },
          { key: "B", value: "2" },
          { key: "A", value: "3" },
        ],
      },
    },
    { op: "set", path: "config.envs[A]", value: "new" },
    {
      config: {
        envs: [
          { key: "A", value: "new" },
          { key: "B", value: "2" },
        ],
      },
    },
    [{ field: "config.envs[A]", outcome: "changed", before: '"[redacted]"', after: '"[redacted]"' }],
  ],
  [
    "leaves one of two equal variables, though the value is right already",
    {
      config: {
        envs: [
          { key: "A", value: "1" },
          { key: "A", value: "1" },
        ],
      },
    },
    { op: "set", path: "config.envs[A]", value: "1" },
    { config: { envs: [{ key: "A", value: "1" }] } },
    [{ field: "config.envs[A]", outcome: "changed", before: '"[redacted]"', after: '"[redacted]"' }],
  ],
  [
    "adds variables that are not there",
    { config: { envs: [{ key: "A", value: "1" }] } },
    { op: "add", path: "config.envs", values: { A: "x", B: "2" } },
    {
      config: {
        envs: [
          { key: "A", value: "1" },
          { key: "B", value: "2" },
        ],
      },
    },
    [
      { field: "config.envs[A]", outcome: "kept", before: '"[redacted]"' },
      { field: "config.envs[B]", outcome: "added", after: '"[redacted]"' },
    ],
  ],
  [
    "removes a variable wherever it comes",
    {
      config: {
        envs: [
          { key: "A", value: "1" },
          { key: "B", value: "2" },
          { key: "A", value: "3" },
        ],
      },
    },
    { op: "remove", path: "config.envs[A]" },
    { config: { envs: [{ key: "B", value: "2" }] } },
    [
      { field: "config.envs[A]", outcome: "removed", before: '"[redacted]"' },
      { field: "config.envs[A]", outcome: "removed", before: '"[redacted]"' },
    ],
  ],
  [
    "sets an annotation, and does not show one that is named like a secret",
    { config: { annotations: { a: "1", "my/password": "old" } } },
    { op: "set", path: "config.annotations", values: { a: "2", "my/password": "new" } },
    {
      config: {
        annotations: new Map([
          ["a", "2"],
          ["my/password", "new"],
        ]),
      },
    },
    [
      { field: "config.annotations[a]", outcome: "changed", before: '"1"', after: '"2"' },
      {
        field: "config.annotations[my/password]",
        outcome: "changed",
        before: '"[redacted]"',
        after: '"[redacted]"',
      },
    ],
  ],
  [
    "adds capabilities, but none twice",
    linux({ security_context: { capabilities: { drop_capabilities: ["NET_RAW"] } } }),
    {
      op: "add",
      path: "config.linux.security_context.capabilities.drop_capabilities",
      value: ["NET_RAW", "MKNOD"],
    },
    linux({ security_context: { capabilities: { drop_capabilities: ["NET_RAW", "MKNOD"] } } }),
    [
      { field: "config.linux.security_context.capabilities.drop_capabilities[NET_RAW]", outcome: "kept" },
      {
        field: "config.linux.security_context.capabilities.drop_capabilities[MKNOD]",
        outcome: "added",
        after: '"MKNOD"',
      },
    ],
  ],
  [
    "appends arguments as they are, also such as are there already",
    { config: { args: ["-v", "run"] } },
    { op: "add", path: "config.args", value: ["-v"] },
    { config: { args: ["-v", "run", "-v"] } },
    [{ field: "config.args[2]", outcome: "added", after: '"[redacted]"' }],
  ],
  [
    "does not append arguments that the list ends with",
    { config: { args: ["run", "-v"] } },
    { op: "add", path: "config.args", value: "-v" },
    { config: { args: ["run", "-v"] } },
    [{ field: "config.args", outcome: "kept" }],
  ],
  [
    "adds a mount, unless one is there already",
    { config: { mounts: [{ container_path: "/a", host_path: "/x" }] } },
    {
      op: "add",
      path: "config.mounts",
      value: [{ container_path: "/a" }, { container_path: "/b", readonly: true }],
    },
    {
      config: {
        mounts: [
          { container_path: "/a", host_path: "/x" },
          { container_path: "/b", readonly: true },
        ],
      },
    },
    [
      { field: "config.mounts[/a]", outcome: "kept", before: '{"container_path":"/a","host_path":"/x"}' },
      { field: "config.mounts[/b]", outcome: "added", after: '{"container_path":"/b","readonly":true}' },
    ],
  ],
  [
    "sets a mount by its path, which need not be said again",
    { config: { mounts: [{ container_path: "/a", host_path: "/x" }] } },
    { op: "set", path: "config.mounts[/a]", value: { host_path: "/y" } },
    { config: { mounts: [{ container_path: "/a", host_path: "/y" }] } },
    [
      {
        field: "config.mounts[/a]",
        outcome: "changed",
        before: '{"container_path":"/a","host_path":"/x"}',
        after: '{"container_path":"/a","host_path":"/y"}',
      },
    ],
  ],
  [
    "sets a field of one element",
    { config: { mounts: [{ container_path: "/a" }, { container_path: "/b" }] } },
    { op: "set", path: "config.mounts[/b].readonly", value: true },
    { config: { mounts: [{ container_path: "/a" }, { container_path: "/b", readonly: true }] } },
    [{ field: "config.mounts[/b].readonly", outcome: "added", after: "true" }],
  ],
  [
    "does nothing to an element that is not there",
    { config: { mounts: [{ container_path: "/a" }] } },
    { op: "set", path: "config.mounts[3].readonly", value: true },
    { config: { mounts: [{ container_path: "/a" }] } },
    [],
  ],
  [
    "removes what a predicate means",
    { config: { devices: [{ container_path: "/dev/fuse" }, { container_path: "/dev/kvm" }] } },
    {
      op: "removeWhere",
      path: "config.devices",
      where: (item) => read(item, "Device").container_path === "/dev/fuse",
    },
    { config: { devices: [{ container_path: "/dev/kvm" }] } },
    [{ field: "config.devices[/dev/fuse]", outcome: "removed", before: '{"container_path":"/dev/fuse"}' }],
  ],
  [
    "replaces text that a predicate means",
    { config: { args: ["--insecure", "run"] } },
    {
      op: "replaceWhere",
      path: "config.args",
      value: "--secure",
      where: (item) => Buffer.from(item).includes("insec"),
    },
    { config: { args: ["--secure", "run"] } },
    [{ field: "config.args[0]", outcome: "changed", before: '"[redacted]"', after: '"[redacted]"' }],
  ],
  [
    "changes fields of the elements that a predicate means",
    { config: { mounts: [{ container_path: "/a" }, { container_path: "/b" }] } },
    {
      op: "replaceWhere",
      path: "config.mounts",
      values: { readonly: true },
      where: (item) => Buffer.from(item).includes("/b"),
    },
    { config: { mounts: [{ container_path: "/a" }, { container_path: "/b", readonly: true }] } },
    [{ field: "config.mounts[/b].readonly", outcome: "added", after: "true" }],
  ],
  [
    "removes a submessage",
    linux({ security_context: { seccomp: { profile_type: "Unconfined" } } }),
    { op: "remove", path: "config.linux.security_context.seccomp" },
    linux({ security_context: {} }),
    [
      {
        field: "config.linux.security_context.seccomp",
        outcome: "removed",
        before: '{"profile_type":"Unconfined"}',
      },
    ],
  ],
  [
    "removes nothing where there is nothing, and makes nothing for it",
    {},
    { op: "remove", path: "config.linux.security_context.seccomp" },
    {},
    [],
  ],
  [
    "sets a list as a whole, packed where it can be",
    linux({ security_context: { supplemental_groups: [1, 2] } }),
    { op: "set", path: "config.linux.security_context.supplemental_groups", value: [7, 8, 9] },
    linux({ security_context: { supplemental_groups: [7n, 8n, 9n] } }),
    [
      {
        field: "config.linux.security_context.supplemental_groups",
        outcome: "changed",
        before: "[1,2]",
        after: "[7,8,9]",
      },
    ],
  ],
  [
    "sets a map as a whole",
    { config: { labels: { a: "1", b: "2" } } },
    { op: "set", path: "config.labels", value: { c: "3" } },
    { config: { labels: new Map([["c", "3"]]) } },
    [{ field: "config.labels", outcome: "changed", before: '{"a":"1","b":"2"}', after: '{"c":"3"}' }],
  ],
];

describe("a mutation", () => {
  it.each(edits)("%s", (_, before, spec, after, changes) => {
    const bytes = message(before);
    const result = apply(bytes, spec);
    expect(read(result.message ?? bytes)).toEqual(after);
    expect(result.changes).toEqual(changes);
    expect(result.message === undefined).toBe(
      JSON.stringify(changes).match(/added|changed|removed/) === null,
    );
  });

  it("leaves every field beside it where it was, byte for byte, known or not", () => {
    const unknown = join(bytesField(900, "later"), tag(901, 0), varint(5));
    const config = join(
      bytesField(5, "/work"),
      unknown,
      tag(14, 0),
      Buffer.of(0x81, 0x00),
      entryField(9, "a", "1"),
    );
    const bytes = join(unknown, bytesField(2, config), bytesField(1, "sandbox"));
    const { message: edited } = apply(bytes, { op: "set", path: "config.labels[a]", value: "2" });
    const changed = join(
      bytesField(5, "/work"),
      unknown,
      tag(14, 0),
      Buffer.of(0x81, 0x00),
      entryField(9, "a", "2"),
    );
    expect(edited).toEqual(join(unknown, bytesField(2, changed), bytesField(1, "sandbox")));
  });

  it("reads and writes a submessage that comes in pieces as one", () => {
    const bytes = join(
      nested([2, 15, 2], message({ privileged: true }, "LinuxContainerSecurityContext")),
      nested([2, 15], bytesField(900, "x")),
    );
    const { message: edited = bytes, changes } = apply(bytes, {
      op: "set",
      path: "config.linux.security_context.privileged",
      value: false,
    });
    expect(changes).toMatchObject([{ outcome: "changed", before: "true" }]);
    const inner = join(nested([2], join(tag(2, 0), varint(0))), bytesField(900, "x"));
    expect(Buffer.from(edited)).toEqual(nested([2, 15], inner));
  });

  it("keeps the unknown fields of a variable whose value is set", () => {
    const env = join(bytesField(1, "A"), bytesField(2, "1"), bytesField(900, "x"));
    const { message: edited } = apply(nested([2, 6], env), { op: "set", path: "config.envs[A]", value: "2" });
    expect(edited).toEqual(
      nested([2, 6], join(bytesField(1, "A"), bytesField(2, "2"), bytesField(900, "x"))),
    );
  });

  it("writes and removes a field that our API does not know, and never shows it", () => {
    const { message: edited = Buffer.alloc(0), changes } = apply(message({}), {
      op: "set",
      path: "config.#99",
      value: "secret",
    });
    expect(edited).toEqual(nested([2, 99], Buffer.from("secret")));
    expect(changes).toEqual([{ field: "config.#99", outcome: "added", after: '"[redacted]"' }]);
    const removed = apply(edited, { op: "remove", path: "config.#99" });
    expect(removed.message).toEqual(bytesField(2, ""));
    expect(removed.changes).toEqual([{ field: "config.#99", outcome: "removed", before: '"[redacted]"' }]);
  });

  it("takes a number packed or not, wherever it lies", () => {
    const groups = join(tag(8, 0), varint(1), bytesField(8, Buffer.of(2, 3)), tag(8, 0), varint(4));
    const bytes = nested([2, 15, 2], groups);
    const path = "config.linux.security_context.supplemental_groups";
    const { message: edited = bytes } = apply(
      bytes,
      { op: "remove", path: `${path}[2]` },
      { op: "remove", path: `${path}["1"]` },
    );
    expect(read(edited)).toEqual(linux({ security_context: { supplemental_groups: [2n, 4n] } }));
  });

  it("can be given its value later", () => {
    const mutation = compile({ op: "set", path: "config.linux.resources.cpu_quota", value: laterValue });
    const { message: edited = Buffer.alloc(0) } = applyMutations(message({}), [withValue(mutation, 7n)]);
    expect(read(edited)).toEqual(linux({ resources: { cpu_quota: 7n } }));
    expect(() => withValue(mutation, "much")).toThrow(
      "config.linux.resources.cpu_quota: must be a whole number",
    );
    expect(() => compile({ op: "set", path: "config.args[a]", value: laterValue })).toThrow("use add");
  });

  it("bounds what it tells of long values and of many", () => {
    const mounts = Array.from({ length: 1_000 }, (_, index) => ({ container_path: `/${index}` }));
    const bytes = message({ config: { mounts, working_dir: "x".repeat(100_000) } });
    const where = () => true;
    const { changes } = apply(
      bytes,
      { op: "remove", path: "config.working_dir" },
      { op: "removeWhere", path: "config.mounts", where },
    );
    expect(changes[0]?.before?.length).toBeLessThan(300);
    expect(changes).toHaveLength(257);
    expect(changes.at(-1)?.field).toBe("and 745 more");
    const whole = apply(bytes, { op: "remove", path: "config" });
    expect(whole.changes[0]?.before?.length).toBeLessThan(2_100);
    expect(() => JSON.parse(whole.changes[0]?.before ?? "")).not.toThrow();
  });
});

describe("a mutation that cannot be meant", () => {
  it.each<[string, MutationSpec, string]>([
    [
      "text for a truth value",
      { op: "set", path: "config.tty", value: "yes" },
      "config.tty: must be true or false, not text",
    ],
    [
      "a unit",
      { op: "set", path: "config.linux.resources.memory_limit_in_bytes", value: "1Gi" },
      "units such as Gi or 500m are not read here",
    ],
    [
      "a fraction",
      { op: "set", path: "config.linux.resources.cpu_quota", value: 1.5 },
      "must be a whole number",
    ],
    [
      "a number that YAML has rounded",
      { op: "set", path: "config.linux.resources.cpu_quota", value: 2 ** 60 },
      "put it in quotes",
    ],
    [
      "a number beyond its width",
      { op: "set", path: "config.metadata.attempt", value: -1 },
      "must be from 0 to 4294967295",
    ],
    [
      "a number for text",
      { op: "set", path: "config.labels[port]", value: 8080 },
      'put it in quotes, as in "8080"',
    ],
    [
      "no such name of an enum",
      { op: "set", path: "config.stop_signal", value: "TERM" },
      "is no name of Signal, did you mean SIGTERM?",
    ],
    [
      "a misspelt field in a value",
      { op: "add", path: "config.mounts", value: { host_pth: "/" } },
      "config.mounts[0]: Mount has no field host_pth, did you mean host_path?",
    ],
    [
      "a wrong type deep in a value",
      { op: "add", path: "config.mounts", value: { container_path: "/a", uidMappings: [{ host_id: "x" }] } },
      "config.mounts[0].uidMappings[0].host_id: must be a whole number",
    ],
    [
      "a mount without its path",
      { op: "add", path: "config.mounts", value: { host_path: "/" } },
      "config.mounts[0]: names no container_path",
    ],
    [
      "the same key twice",
      { op: "add", path: "config.CDI_devices", value: [{ name: "a" }, { name: "a" }] },
      "config.CDI_devices[1]: is the second with this name",
    ],
    [
      "another key than the path's",
      { op: "set", path: "config.mounts[/a]", value: { container_path: "/b" } },
      "container_path differs",
    ],
    ["no value", { op: "set", path: "config.tty" }, "set needs value or values, one of them"],
    ["value and values", { op: "set", path: "config.labels", value: {}, values: {} }, "one of them"],
    ["no values", { op: "set", path: "config.labels", values: {} }, "names no values"],
    [
      "values where there are no entries",
      { op: "set", path: "config.tty", values: { a: 1 } },
      "has no entries or fields: use value",
    ],
    ["values for a list without keys", { op: "add", path: "config.args", values: { a: 1 } }, "use value"],
    ["a value to remove", { op: "remove", path: "config.args", value: "x" }, "remove takes no value"],
    ["an index to add at", { op: "add", path: "config.args[0]", value: "x" }, "elements go to the end"],
    [
      "one text of a list to set",
      { op: "set", path: "config.args[x]", value: "y" },
      "use add with the path config.args",
    ],
    [
      "where for what is no list",
      { op: "removeWhere", path: "config.tty", where: () => true },
      "is for the elements of a list",
    ],
    [
      "where for a map",
      { op: "removeWhere", path: "config.labels", where: () => true },
      "is for the elements of a list",
    ],
    ["no where", { op: "removeWhere", path: "config.args" }, "needs to say where"],
    [
      "where for set",
      { op: "set", path: "config.args", value: [], where: () => true },
      "use removeWhere or replaceWhere",
    ],
    [
      "fields of text",
      { op: "replaceWhere", path: "config.args", values: { a: 1 }, where: () => true },
      "its elements have no fields",
    ],
    [
      "a mapping for an unknown field",
      { op: "set", path: "config.#99", value: {} },
      "must be text, bytes, a whole number",
    ],
  ])("is refused for %s", (_, spec, why) => {
    expect(() => compile(spec)).toThrow(expect.objectContaining({ kind: "invalid" }));
    expect(() => compile(spec)).toThrow(why);
  });

  it("is refused without telling the value, which may be secret", () => {
    const bad: MutationSpec[] = [
      { op: "set", path: "config.tty", value: "hunter2" },
      { op: "set", path: "config.stop_signal", value: "hunter2" },
      { op: "set", path: "config.linux.resources.cpu_quota", value: "hunter2" },
      { op: "set", path: "config.args", value: "hunter2" },
    ];
    for (const spec of bad) expect(() => compile(spec)).toThrow(/^(?!.*hunter2)/s);
  });
});

describe("a message that is none", () => {
  const specs: MutationSpec[] = [
    { op: "set", path: "config.envs[A]", value: "1" },
    { op: "add", path: "config.args", value: "x" },
    { op: "remove", path: "config.linux.security_context.supplemental_groups[1]" },
    { op: "set", path: "config.mounts[/data].readonly", value: true },
    { op: "remove", path: "config.annotations" },
    { op: "removeWhere", path: "config.devices", where: () => true },
  ];
  const mutations = specs.map((spec) => compile(spec));

  it("is an error of kind decode, or edited; nothing else is thrown, whatever the bytes are", () => {
    const damaged = fc.tuple(fc.integer(), fc.integer({ min: 0 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(damaged, ([seed, where, byte]) => {
        const bytes = randomMessage(createRandom(seed), create);
        if (bytes.length > 0) bytes[where % bytes.length] = byte;
        try {
          const { message: edited } = applyMutations(bytes, mutations);
          if (edited) jsonText(readMessage(create, edited, { redact: true }));
        } catch (error) {
          expect(error).toBeInstanceOf(TrivetError);
          expect(error).toMatchObject({ kind: "decode" });
        }
      }),
      { numRuns: 300 },
    );
  });

  it("costs no more than its size: millions of the smallest fields", () => {
    const size = 4 * 1024 * 1024; // what is linear there is linear at 16 MiB
    const groups = bytesField(8, Buffer.alloc(size / 2, 1));
    const args = Buffer.alloc(size / 2); // two bytes each: the tag of args, and the length 0
    for (let index = 0; index < args.length; index += 2) args[index] = 0x22;
    const bytes = nested([2], join(args, nested([15, 2], groups)));
    const { message: edited, changes } = applyMutations(bytes, mutations);
    expect(edited?.length).toBeGreaterThan(size);
    expect(changes.map(({ outcome }) => outcome)).toEqual(["added", "added", "removed"]);
  });
});
