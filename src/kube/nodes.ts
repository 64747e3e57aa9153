/** Lists and events of Nodes as the few facts that are kept of each. Pure: bytes in, facts out. */
import { TrivetError } from "../errors.ts";
import { createJsonSelector, type JsonSelector, type Wanted } from "./json-select.ts";

/** What is kept of a Node (core/v1). */
export interface NodeFacts {
  readonly name: string;
  /** `spec.podCIDRs`, or the older `spec.podCIDR` alone; of both families on a dual-stack cluster. */
  readonly podCidrs: readonly string[];
  /** `status.addresses` of type InternalIP. */
  readonly internalIps: readonly string[];
}

/** One page of a list. */
export interface NodePage {
  readonly resourceVersion: string;
  /** Empty on the last page. */
  readonly continueToken: string;
}

/** One event of a watch. */
export interface NodeEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly node: NodeFacts;
  readonly resourceVersion: string;
  /** Of ERROR: the `Status` object's code, such as 410 for a version that is too old. */
  readonly code: number;
  readonly message: string;
}

const wantedOfNode: Wanted = {
  metadata: { name: true, resourceVersion: true },
  spec: { podCIDR: true, podCIDRs: true },
  status: { addresses: true },
};

/** Values of one object, by their paths below it. */
type Values = Map<string, unknown>;

const textAt = (values: Values, path: string): string => {
  const value = values.get(path);
  return typeof value === "string" ? value : "";
};

function factsOf(values: Values, prefix: string): NodeFacts {
  const list = values.get(`${prefix}spec.podCIDRs`);
  const cidrs = Array.isArray(list) ? list.filter((cidr) => typeof cidr === "string") : [];
  const single = textAt(values, `${prefix}spec.podCIDR`);
  const addresses = values.get(`${prefix}status.addresses`);
  return {
    name: textAt(values, `${prefix}metadata.name`),
    podCidrs: cidrs.length > 0 || single === "" ? cidrs : [single],
    internalIps: Array.isArray(addresses) ? addresses.flatMap(internalIp) : [],
  };
}

function internalIp(entry: unknown): string[] {
  const { type, address } = (entry ?? {}) as { type?: unknown; address?: unknown };
  return type === "InternalIP" && typeof address === "string" ? [address] : [];
}

interface ListReader {
  feed(bytes: Buffer): void;
  /** Throws kind `decode` if the list is not complete. */
  finish(): NodePage;
}

/** Reads one page; each node is given as soon as it is complete. */
export function readNodeList(onNode: (node: NodeFacts) => void): ListReader {
  const page: Values = new Map();
  let item: Values = new Map();
  let complete = false;
  const selector = createJsonSelector(
    { metadata: { resourceVersion: true, continue: true }, items: { "*": wantedOfNode } },
    {
      value: (path, value) => {
        if (path.startsWith("items.*.")) item.set(path.slice("items.*.".length), value);
        else page.set(path, value);
      },
      end: (path) => {
        complete ||= path === "";
        if (path !== "items.*") return;
        const node = factsOf(item, "");
        item = new Map();
        if (node.name !== "") onNode(node);
      },
    },
  );
  return {
    feed: (bytes) => selector.feed(bytes),
    finish() {
      selector.finish();
      if (!complete) throw notWhole();
      return {
        resourceVersion: textAt(page, "metadata.resourceVersion"),
        continueToken: textAt(page, "metadata.continue"),
      };
    },
  };
}

function notWhole(): TrivetError {
  return new TrivetError({
    kind: "decode",
    op: "kube.list",
    subject: "nodes",
    message: "the list of nodes is empty",
  });
}

const eventTypes = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"] as const;

/** Reads the events of a watch. What has no type that we know is left out. */
export function readNodeEvents(onEvent: (event: NodeEvent) => void): JsonSelector {
  let values: Values = new Map();
  return createJsonSelector(
    { type: true, object: { ...wantedOfNode, code: true, message: true } },
    {
      value: (path, value) => values.set(path, value),
      end: (path) => {
        if (path !== "") return;
        const type = eventTypes.find((each) => each === values.get("type"));
        const code = values.get("object.code");
        const event = {
          node: factsOf(values, "object."),
          resourceVersion: textAt(values, "object.metadata.resourceVersion"),
          code: typeof code === "number" ? code : 0,
          message: textAt(values, "object.message"),
        };
        values = new Map();
        if (type) onEvent({ type, ...event });
      },
    },
  );
}
