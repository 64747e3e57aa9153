/**
 * The variables that expressions have, and their types: `object` is the request of one method, so that a field that this
 * method does not have is an error when the policy is loaded.
 */
import { Environment } from "@marcbachmann/cel-js";
import { type Field, messageType } from "../../wire/descriptors.ts";
import { type ImageReference, parseImage } from "../images/reference.ts";
import { type CelMessage, celTypeOf, messageClass } from "./cel-message.ts";

/** `request`: which call it is. */
export class CelRequest {
  readonly method: string;
  readonly service: string;
  /** The extra listener by which the call came; empty on the main one. */
  readonly listener: string;

  constructor(method: string, service: string, listener: string) {
    this.method = method;
    this.service = service;
    this.listener = listener;
  }
}

/** What is known of the pod; texts are empty where the call names none. */
export interface PodValues {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly annotations: ReadonlyMap<string, string>;
  readonly runtimeHandler: string;
  readonly isStatic: boolean;
}

/** `pod`. Read when an expression asks: some of it may not be known. */
export class CelPod implements PodValues {
  readonly #pod: PodValues;

  constructor(pod: PodValues) {
    this.#pod = pod;
  }

  get namespace(): string {
    return this.#pod.namespace;
  }

  get name(): string {
    return this.#pod.name;
  }

  get uid(): string {
    return this.#pod.uid;
  }

  get labels(): ReadonlyMap<string, string> {
    return this.#pod.labels;
  }

  get annotations(): ReadonlyMap<string, string> {
    return this.#pod.annotations;
  }

  get runtimeHandler(): string {
    return this.#pod.runtimeHandler;
  }

  get isStatic(): boolean {
    return this.#pod.isStatic;
  }
}

/** `container`. */
export class CelContainer {
  readonly #read: () => string;

  constructor(read: () => string) {
    this.#read = read;
  }

  get name(): string {
    return this.#read();
  }
}

/** `image`: the image that the call names, taken apart as the runtime does; parts are empty where it is an id or none. */
export class CelImage {
  readonly #read: () => string;
  #parsed: ImageReference | undefined | null = null;

  /** The reference is read when an expression asks for it: it may not be known. */
  constructor(read: () => string) {
    this.#read = read;
  }

  /** As it was written. */
  get reference(): string {
    return this.#read();
  }

  /** In full: registry, repository, tag and digest. */
  get name(): string {
    return this.#part("name");
  }

  get registry(): string {
    return this.#part("registry");
  }

  get repository(): string {
    return this.#part("repository");
  }

  get tag(): string {
    return this.#part("tag");
  }

  get digest(): string {
    return this.#part("digest");
  }

  #part(name: keyof ImageReference): string {
    if (this.#parsed === null) this.#parsed = parseImage(this.#read());
    return this.#parsed?.[name] ?? "";
  }
}

const ownTypes = {
  Request: { ctor: CelRequest, fields: { method: "string", service: "string", listener: "string" } },
  Pod: {
    ctor: CelPod,
    fields: {
      namespace: "string",
      name: "string",
      uid: "string",
      labels: "map<string, string>",
      annotations: "map<string, string>",
      runtimeHandler: "string",
      isStatic: "bool",
    },
  },
  ContainerName: { ctor: CelContainer, fields: { name: "string" } },
  Image: {
    ctor: CelImage,
    fields: {
      reference: "string",
      name: "string",
      registry: "string",
      repository: "string",
      tag: "string",
      digest: "string",
    },
  },
} as const;

const ownVariables = { request: "Request", pod: "Pod", container: "ContainerName", image: "Image" } as const;

/** The variables that every expression has; `object` and, in some places, `item` and `variables` come on top. */
export interface Scope {
  readonly request: CelRequest;
  readonly pod: CelPod;
  readonly container: CelContainer;
  readonly image: CelImage;
  readonly object?: CelMessage;
  readonly item?: unknown;
  readonly variables?: unknown;
}

/** The messages that a message can hold, itself included. */
function reachableTypes(root: string): Set<string> {
  const found = new Set<string>([root]);
  for (const name of found) {
    for (const field of messageType(name).fields) if (field.message !== undefined) found.add(field.message);
  }
  return found;
}

const LIMITS = { maxAstNodes: 2_000, maxDepth: 100, maxListElements: 1_000, maxMapEntries: 1_000 };

// Loading builds one for each method that a policy names: nothing in them differs between policies.
const environments = new Map<string, Environment>();

/** For expressions about a request of this type; without a type, `object` is missing. Not to be changed: clone it. */
export function environmentFor(request: string | undefined): Environment {
  const known = environments.get(request ?? "");
  if (known) return known;
  const environment = new Environment({ limits: LIMITS, homogeneousAggregateLiterals: false });
  for (const [name, type] of Object.entries(ownTypes)) environment.registerType(name, type);
  for (const [name, type] of Object.entries(ownVariables)) environment.registerVariable(name, type);
  if (request !== undefined) {
    for (const name of reachableTypes(request)) {
      const fields = Object.fromEntries(
        messageType(name).fields.map((field) => [field.name, celTypeOf(field)]),
      );
      environment.registerType(name, { ctor: messageClass(name), fields });
    }
    environment.registerVariable("object", request);
  }
  environments.set(request ?? "", environment);
  return environment;
}

/** The same variables, and `item` for the elements of this list. */
export function withItem(environment: Environment, list: Field): Environment {
  return environment.clone().registerVariable("item", celTypeOf({ ...list, repeated: false }));
}

/** The names of the fields of a type, for errors; undefined for a type that has none. */
export function fieldNamesOf(typeName: string): readonly string[] | undefined {
  if (Object.hasOwn(ownTypes, typeName)) {
    return Object.keys(ownTypes[typeName as keyof typeof ownTypes].fields);
  }
  try {
    return messageType(typeName).fields.map(({ name }) => name);
  } catch {
    return undefined; // a type of the language, such as string
  }
}

/** The fields of our own variables, such as `pod.namespace`, for the documentation's test. */
export const variableFields: readonly string[] = Object.entries(ownVariables).flatMap(([variable, type]) =>
  Object.keys(ownTypes[type].fields).map((field) => `${variable}.${field}`),
);

/** The names of all variables, for errors. */
export const variableNames: readonly string[] = ["object", ...Object.keys(ownVariables), "variables", "item"];
