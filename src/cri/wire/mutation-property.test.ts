import fc from "fast-check";
import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { mergeOccurrences } from "../../../test/fakes/containerd/merge-occurrences.ts";
import { createRandom, type Random } from "../tap/testing/random.ts";
import { type Field, messageType } from "./descriptors.ts";
import { keyText } from "./field-path.ts";
import { FieldWalk, joined } from "./fields.ts";
import { applyMutations, compileMutation, type MutationSpec } from "./mutation.ts";
import { pick, randomMessage, randomWord } from "./testing/random-message.ts";

const proto = new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname;
const root = new protobuf.Root().loadSync(proto, { keepCase: true });
const typeOf = (name: string) => root.lookupType(`runtime.v1.${name}`);

type Plain = { [name: string]: unknown };

/** What a decoder that knows how to merge makes of a message: the model that edits are compared with. */
function decode(name: string, bytes: Uint8Array): Plain {
  return typeOf(name).toObject(typeOf(name).decode(mergeOccurrences(name, bytes)), {
    longs: String,
    bytes: Buffer,
  });
}

/** The model with every default filled in, so that an explicit zero equals none. */
function normal(name: string, plain: Plain): Plain {
  const type = typeOf(name);
  const options = { longs: String, bytes: String, defaults: true };
  return type.toObject(type.decode(type.encode(type.fromObject(plain)).finish()), options);
}

interface Place {
  /** Names of singular submessages on the way, and the message at their end. */
  readonly way: readonly string[];
  readonly message: string;
}

/** Every message that is reached by singular fields. */
function places(message: string, way: readonly string[] = []): Place[] {
  const below = messageType(message).fields.filter(({ kind, repeated }) => kind === "message" && !repeated);
  return [
    { way, message },
    ...below.flatMap(({ name, message: inner }) => places(inner ?? "", [...way, name])),
  ];
}

/** Goes to a place in the model: undefined where it is not, unless it is to be made. */
function at(plain: Plain, way: readonly string[], make: boolean): Plain | undefined {
  let here = plain;
  for (const name of way) {
    const next = here[name] as Plain | null | undefined;
    if (!next && !make) return undefined;
    here[name] = next ?? {};
    here = here[name] as Plain;
  }
  return here;
}

interface Case {
  readonly spec: MutationSpec;
  readonly change: (model: Plain) => void;
  /** Whether applying it twice is applying it once. */
  readonly idempotent: boolean;
}

type Maker = (random: Random, place: Place, field: Field) => Case | undefined;
const pathOf = ({ way }: Place, field: Field) => [...way, field.name].join(".");
const isMap = ({ map }: Field) => map;
const isSingularScalar = ({ kind, repeated, map }: Field) => kind !== "message" && !repeated && !map;
const isTextList = ({ kind, repeated }: Field) => kind === "string" && repeated;
const isNumberList = ({ kind, repeated }: Field) => kind === "int64" && repeated;

function scalarFor(random: Random, { kind }: Field): unknown {
  if (kind === "bool") return random.chance(2);
  if (kind === "string" || kind === "bytes") return randomWord(random);
  if (kind === "double") return random.below(8) / 4;
  return kind === "enum" ? random.below(2) : random.below(4);
}

const setScalar: Maker = (random, place, field) => {
  if (!isSingularScalar(field)) return undefined;
  const value = scalarFor(random, field);
  const model = field.kind === "bytes" ? Buffer.from(String(value)) : value;
  const zero = !model || (model instanceof Buffer && model.length === 0);
  const change = (plain: Plain) => {
    const here = at(plain, place.way, !zero); // a zero is no reason to make what would hold it
    if (here) here[field.name] = model;
  };
  return { spec: { op: "set", path: pathOf(place, field), value }, change, idempotent: true };
};

const removeField: Maker = (_random, place, field) => {
  const change = (plain: Plain) => {
    const here = at(plain, place.way, false);
    if (here) delete here[field.name];
  };
  return { spec: { op: "remove", path: pathOf(place, field) }, change, idempotent: true };
};

const mapEntries: Maker = (random, place, field) => {
  if (!isMap(field)) return undefined;
  const entries = new Map([1, 2, 3].map(() => [randomWord(random), randomWord(random)]));
  const op = pick(random, ["set", "add"] as const);
  const change = (plain: Plain) => {
    const here = at(plain, place.way, true) ?? {};
    const given = Object.fromEntries(entries);
    here[field.name] =
      op === "set"
        ? { ...(here[field.name] as object), ...given }
        : { ...given, ...(here[field.name] as object) };
  };
  const values = Object.fromEntries(entries);
  return { spec: { op, path: pathOf(place, field), values }, change, idempotent: true };
};

const mapKey: Maker = (random, place, field) => {
  if (!isMap(field)) return undefined;
  const key = randomWord(random) || "a";
  const change = (plain: Plain) => {
    const map = at(plain, place.way, false)?.[field.name] as Plain | undefined;
    if (map) delete map[key];
  };
  return { spec: { op: "remove", path: pathOf(place, field) + keyText(key) }, change, idempotent: true };
};

type Env = { key?: string; value?: Buffer };
const envsOf = (plain: Plain, place: Place): Env[] => {
  const here = at(plain, place.way, true) ?? {};
  here.envs = (here.envs as Env[] | undefined) ?? [];
  return here.envs as Env[];
};
const keyOf = ({ key }: Env) => key ?? "";

const environment: Maker = (random, place, field) => {
  if (field.message !== "KeyValue") return undefined;
  const key = randomWord(random) || "a";
  const value = randomWord(random);
  const op = pick(random, ["set", "add", "remove"] as const);
  const path = pathOf(place, field) + keyText(key);
  const change = (plain: Plain) => {
    if (op === "remove" && !at(plain, place.way, false)) return;
    const envs = envsOf(plain, place);
    const first = envs.findIndex((env) => keyOf(env) === key);
    const one = { key, value: Buffer.from(value) };
    if (op === "add" && first >= 0) return;
    const others = envs.filter((env, index) => keyOf(env) !== key || (op === "set" && index === first));
    if (op !== "remove") {
      if (first < 0) others.push(one);
      else others[others.findIndex((env) => keyOf(env) === key)] = one;
    }
    envs.splice(0, envs.length, ...others);
  };
  return { spec: op === "remove" ? { op, path } : { op, path, value }, change, idempotent: true };
};

const listOf = <T>(plain: Plain, place: Place, field: Field): T[] => {
  const here = at(plain, place.way, true) ?? {};
  here[field.name] = (here[field.name] as T[] | undefined) ?? [];
  return here[field.name] as T[];
};

const addTexts: Maker = (random, place, field) => {
  if (!isTextList(field)) return undefined;
  const value = [randomWord(random), randomWord(random)];
  const change = (plain: Plain) => {
    const list = listOf<string>(plain, place, field);
    if (field.name === "args" || field.name === "command") {
      if (list.slice(-2).join("\0") !== value.join("\0") || list.length < 2) list.push(...value);
    } else for (const one of value) if (!list.includes(one)) list.push(one);
  };
  return { spec: { op: "add", path: pathOf(place, field), value }, change, idempotent: true };
};

const setTexts: Maker = (random, place, field) => {
  if (!isTextList(field)) return undefined;
  const value = Array.from({ length: 1 + random.below(3) }, () => randomWord(random));
  const change = (plain: Plain) => {
    listOf<string>(plain, place, field).splice(0, Number.POSITIVE_INFINITY, ...value);
  };
  return { spec: { op: "set", path: pathOf(place, field), value }, change, idempotent: true };
};

const textsWhere: Maker = (random, place, field) => {
  if (!isTextList(field)) return undefined;
  const path = pathOf(place, field);
  const where = (item: Uint8Array) => item.length % 2 === 0;
  const isMeant = (text: string) => where(Buffer.from(text));
  const replace = random.chance(2);
  const change = (plain: Plain) => {
    if (!at(plain, place.way, false)) return;
    const list = listOf<string>(plain, place, field);
    const kept = replace
      ? list.map((one) => (isMeant(one) ? "odd" : one))
      : list.filter((one) => !isMeant(one));
    list.splice(0, list.length, ...kept);
  };
  const spec: MutationSpec = replace
    ? { op: "replaceWhere", path, value: "odd", where }
    : { op: "removeWhere", path, where };
  return { spec, change, idempotent: true };
};

const mountsWhere: Maker = (random, place, field) => {
  if (field.message !== "Mount" || !field.repeated) return undefined;
  const isMeant = ({ host_path = "" }: Plain) => String(host_path).length % 2 === 0;
  const where = (item: Uint8Array) => isMeant(decode("Mount", item));
  const path = pathOf(place, field);
  const replace = random.chance(2);
  const change = (plain: Plain) => {
    if (!at(plain, place.way, false)) return;
    const list = listOf<Plain>(plain, place, field);
    if (replace) for (const mount of list.filter(isMeant)) mount.readonly = true;
    else list.splice(0, list.length, ...list.filter((mount) => !isMeant(mount)));
  };
  const spec: MutationSpec = replace
    ? { op: "replaceWhere", path, values: { readonly: true }, where }
    : { op: "removeWhere", path, where };
  return { spec, change, idempotent: true };
};

const numbers: Maker = (random, place, field) => {
  if (!isNumberList(field)) return undefined;
  const path = pathOf(place, field);
  if (random.chance(2)) {
    const value = [random.below(3), 1000];
    const change = (plain: Plain) => {
      const list = listOf<string>(plain, place, field);
      for (const one of value.map(String)) if (!list.includes(one)) list.push(one);
    };
    return { spec: { op: "add", path, value }, change, idempotent: true };
  }
  const index = random.below(3);
  const change = (plain: Plain) => {
    (at(plain, place.way, false)?.[field.name] as string[] | undefined)?.splice(index, 1);
  };
  return { spec: { op: "remove", path: `${path}[${index}]` }, change, idempotent: false };
};

const makers = [
  setScalar,
  removeField,
  mapEntries,
  mapKey,
  environment,
  addTexts,
  setTexts,
  textsWhere,
  mountsWhere,
  numbers,
];

function randomCase(random: Random, message: string): Case {
  while (true) {
    const maker = pick(random, makers);
    const place = pick(random, places(message));
    const { fields } = messageType(place.message);
    const made = fields.length > 0 && maker(random, place, pick(random, fields));
    if (made) return made;
  }
}

/** The fields beside the path, level by level, as raw bytes: none of them may ever change or move. */
function beside(message: string, bytes: Buffer, path: string): string[][] {
  const levels: string[][] = [];
  let type = messageType(message);
  let level: Buffer | undefined = bytes;
  for (const name of path.replace(/\[.*/s, "").split(".")) {
    const field = type.byName.get(name);
    const others: string[] = [];
    const walk = new FieldWalk(level ?? Buffer.alloc(0));
    while (walk.next()) {
      if (walk.number !== field?.number)
        others.push(level?.subarray(walk.start, walk.end).toString("hex") ?? "");
    }
    levels.push(others);
    if (!field?.message || field.repeated) break;
    level = level && joined(level, field.number);
    type = messageType(field.message);
  }
  return levels;
}

const requests = ["CreateContainerRequest", "RunPodSandboxRequest", "UpdateContainerResourcesRequest"];

describe("any mutation of any message", () => {
  const runs = fc.tuple(fc.integer(), fc.constantFrom(...requests));

  it("does what a full decode, change and encode would do, and nothing else", () => {
    fc.assert(
      fc.property(runs, ([seed, name]) => {
        const random = createRandom(seed);
        const message = randomMessage(random, name);
        const { spec, change, idempotent } = randomCase(random, name);
        const compiled = [compileMutation(name, spec)];
        const { message: edited } = applyMutations(message, compiled);
        const model = decode(name, message);
        change(model);
        expect(normal(name, decode(name, edited ?? message))).toEqual(normal(name, model));
        if (!edited) return;
        expect(beside(name, Buffer.from(edited), spec.path)).toEqual(beside(name, message, spec.path));
        if (idempotent) expect(applyMutations(edited, compiled).message).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it("sees what those before it did: together they do what they do one after another", () => {
    fc.assert(
      fc.property(runs, ([seed, name]) => {
        const random = createRandom(seed);
        const message: Uint8Array = randomMessage(random, name);
        const all = Array.from({ length: 6 }, () => compileMutation(name, randomCase(random, name).spec));
        const together = applyMutations(message, all);
        let single = message;
        const changes = all.flatMap((one) => {
          const result = applyMutations(single, [one]);
          single = result.message ?? single;
          return result.changes;
        });
        expect(normal(name, decode(name, together.message ?? message))).toEqual(
          normal(name, decode(name, single)),
        );
        expect(together.changes).toEqual(changes);
      }),
      { numRuns: 60 },
    );
  });
});
