/** A decision is about what a request says, not about how it is written: protobuf has many ways for the same message. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { messageType, methodOf } from "../wire/descriptors.ts";
import { bytesField, tag, varint } from "../wire/encode.ts";
import { FieldWalk, wireType } from "../wire/fields.ts";
import type { PlainMessage, PlainValue } from "../wire/read.ts";
import { defaultValue, isPackable, packedEnd } from "../wire/scalar.ts";
import { encodeValue, taggedValue } from "../wire/value.ts";
import { createPolicyEngine } from "./engine.ts";
import {
  createContainer,
  knownPods,
  pod,
  policiesOf,
  readRequest,
  requestOf,
  runPodSandbox,
} from "./testing/requests.ts";

/** Numbers from a list, over and over. */
type Choose = (below: number) => number;

function chooser(choices: readonly number[]): Choose {
  let at = 0;
  return (below) => {
    at += 1;
    return (choices[at % choices.length] ?? 0) % below;
  };
}

/** A length in more bytes than it needs. */
function longVarint(value: number): Buffer {
  const short = varint(value);
  const last = short.length - 1;
  const head = Buffer.from(short);
  head[last] = (head[last] ?? 0) | 0x80;
  return Buffer.concat([head, Buffer.of(0x80, 0x00)]);
}

function lengthDelimited(number: number, body: Buffer, choose: Choose): Buffer {
  if (choose(3) > 0) return bytesField(number, body);
  return Buffer.concat([longVarint(number * 8 + wireType.bytes), longVarint(body.length), body]);
}

/** The field of a singular submessage in two pieces, with an unknown field between them and a default before. */
function split(type: string, number: number, body: Buffer, choose: Choose): Buffer[] {
  const fields = piecesOf(type, body, choose);
  const at = choose(fields.length + 1);
  const halves = [fields.slice(0, at), fields.slice(at)];
  const parts = halves.map((half) => lengthDelimited(number, Buffer.concat(half), choose));
  return choose(2) > 0 ? parts : [lengthDelimited(number, Buffer.concat(fields), choose)];
}

/** The fields of a message one by one, each written in another way, in an order that says the same. */
function piecesOf(typeName: string, message: Buffer, choose: Choose): Buffer[] {
  const { byNumber, fields } = messageType(typeName);
  const groups = new Map<number, Buffer[]>();
  const put = (number: number, ...pieces: Buffer[]) =>
    groups.set(number, [...(groups.get(number) ?? []), ...pieces]);
  const walk = new FieldWalk(message);
  while (walk.next()) {
    const field = byNumber.get(walk.number);
    const own = message.subarray(walk.start, walk.end);
    const body = message.subarray(walk.valueStart, walk.end);
    if (!field) put(walk.number, own);
    else if (field.kind === "message" && !field.map) {
      const type = field.message ?? "";
      if (field.repeated) {
        put(field.number, lengthDelimited(field.number, Buffer.concat(piecesOf(type, body, choose)), choose));
      } else put(field.number, ...split(type, field.number, body, choose));
    } else if (isPackable(field) && walk.type === wireType.bytes && choose(2) > 0) {
      for (let start = walk.valueStart; start < walk.end; ) {
        const end = packedEnd(field, message, start, walk.end);
        put(field.number, taggedValue(field, message.subarray(start, end)));
        start = end;
      }
    } else if (!field.repeated && !field.map && choose(2) > 0) {
      // An earlier value of the field, which does not count.
      const before = encodeValue(field, field.kind === "bool" ? true : defaultValue(field), "x");
      put(field.number, taggedValue(field, before), own);
    } else put(field.number, own);
  }
  for (const field of fields) {
    const absent = !groups.has(field.number) && !field.repeated && !field.map && field.kind !== "message";
    if (absent && choose(4) === 0) {
      put(field.number, taggedValue(field, encodeValue(field, defaultValue(field), "x")));
    }
  }
  if (choose(3) === 0) put(999, Buffer.concat([tag(999, wireType.varint), varint(choose(300))]));
  // Only what belongs to one field has an order that counts.
  const shuffled = [...groups.values()];
  for (let index = shuffled.length - 1; index > 0; index -= 1) {
    const other = choose(index + 1);
    const [a, b] = [shuffled[index] ?? [], shuffled[other] ?? []];
    shuffled[index] = b;
    shuffled[other] = a;
  }
  return shuffled.flat();
}

/** What a message says: a scalar with its default is as good as none. */
function withoutDefaults(typeName: string, message: PlainMessage): PlainMessage {
  const kept: PlainMessage = {};
  for (const field of messageType(typeName).fields) {
    const value = message[field.name];
    if (value === undefined) continue;
    const inner = (one: PlainValue) => withoutDefaults(field.message ?? "", one as PlainMessage);
    if (field.kind === "message") kept[field.name] = Array.isArray(value) ? value.map(inner) : inner(value);
    else if (field.repeated || field.map || value !== defaultValue(field)) kept[field.name] = value;
  }
  return kept;
}

const specs = {
  a: `
    methods: [CreateContainer]
    namespaces: [web]
    containers: [main]
    images: ["nginx:1.*"]
    podSelector: { matchLabels: { app: web } }
    matchConditions: [{ name: privileged, expression: object.config.linux.security_context.privileged }]
    mutations:
      - { op: set, path: "config.envs[HTTP_PROXY]", value: x }
      - { op: add, path: config.envs, values: { HTTP_PROXY: kept, NEW: x } }
      - { op: set, path: config.linux.resources.memory_limit_in_bytes, value: 2048 }
      - { op: add, path: config.linux.resources.cpu_quota, value: 5 }
      - { op: set, path: config.linux.security_context.privileged, value: false }
      - { op: removeWhere, path: config.linux.security_context.capabilities.add_capabilities, where: 'item == "SYS_ADMIN"' }
      - { op: add, path: config.linux.security_context.supplemental_groups, value: [7, 8] }
      - { op: replaceWhere, path: config.mounts, where: { container_path: /etc/hosts }, value: { container_path: /x, host_path: /y } }
      - { op: remove, path: "config.labels[app]" }`,
  b: `
    methods: [CreateContainer]
    validations:
      - expression: '!has(object.config.windows) && object.config.linux.security_context.supplemental_groups == [1, 2, 300, 7, 8]'`,
  c: `
    methods: [RunPodSandbox]
    runtimeHandlers: [runc]
    mutations:
      - { op: set, path: runtime_handler, value: kata }
      - { op: set, path: "config.annotations[example.org/a]", value: b }
      - { op: set, path: config.linux.security_context.privileged, value: false }`,
  d: "methods: [RunPodSandbox]\nvalidations: [{ expression: \"object.config.metadata.attempt == 1 && object.config.linux.security_context.namespace_options.network != 'NODE'\" }]",
  images: "imageRewrites: [{ from: quay.io, to: mirror.example.org }]",
};

const security = {
  privileged: true,
  supplemental_groups: [1, 2, 300],
  capabilities: { add_capabilities: ["NET_RAW", "SYS_ADMIN"] },
  namespace_options: { network: "NODE", pid: "CONTAINER" },
};
const { capabilities: _, ...sandboxSecurity } = security;
const linux = {
  resources: { memory_limit_in_bytes: 1024, hugepage_limits: [{ page_size: "2MB", limit: 5 }] },
  security_context: security,
};
const mounts = [
  { container_path: "/etc/hosts", host_path: "/var/lib/kubelet/hosts", readonly: true },
  { container_path: "/image", image: { image: "quay.io/a/b:1" } },
];
const requests = [
  ["CreateContainer", { ...createContainer, config: { ...createContainer.config, linux, mounts } }],
  [
    "RunPodSandbox",
    { ...runPodSandbox, config: { ...runPodSandbox.config, linux: { security_context: sandboxSecurity } } },
  ],
  [
    "RunPodSandbox",
    {
      ...runPodSandbox,
      config: {
        ...runPodSandbox.config,
        linux: { security_context: { ...sandboxSecurity, namespace_options: { network: "POD" } } },
      },
    },
  ],
] as const;

describe("a request that is written in another way", () => {
  const policies = policiesOf(specs);
  const decide = (method: string, message: Buffer) => {
    const engine = createPolicyEngine({ policies, pods: knownPods([pod]) });
    const decision = engine.decide({ method, message });
    if (decision instanceof Promise) throw new Error("the runtime was to be asked");
    const { denied, outcomes, changes } = decision;
    const request = methodOf(method)?.request ?? "";
    const after = withoutDefaults(request, readRequest(method, decision.message ?? message));
    // What was there is shown as it was written, defaults included.
    const told = changes.map(({ policy, field, outcome, after: now }) => ({ policy, field, outcome, now }));
    return { denied, outcomes, told, after };
  };

  it.each(requests)("is decided on alike: %s", (method, request) => {
    const bytes = requestOf(method, request);
    const wanted = decide(method, bytes);
    expect(wanted.outcomes.length).toBeGreaterThan(0);
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 7, maxLength: 60 }), (choices) => {
        const other = Buffer.concat(piecesOf(methodOf(method)?.request ?? "", bytes, chooser(choices)));
        expect(decide(method, other)).toEqual(wanted);
      }),
      { numRuns: 150 },
    );
  });
});
