import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { capEntries, isStaticPod } from "./facts.ts";
import { fields, readContainerList, readPodList } from "./read-facts.ts";

const root = protobuf.loadSync(new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname);

const rows = Object.entries(fields)
  .filter(([message]) => message !== "RemoveRequest")
  .flatMap(([message, numbers]) =>
    Object.entries(numbers).map(([name, number]) => [message, name, number] as const),
  );

describe("the field numbers of facts", () => {
  it.each(rows)("%s.%s is %i in the API", (message, name, number) => {
    expect(root.lookupType(`runtime.v1.${message}`).fields[name]?.id).toBe(number);
  });

  it.each([
    ["RemovePodSandboxRequest", "podSandboxId"],
    ["RemoveContainerRequest", "containerId"],
  ])("%s.%s is the one that names what is removed", (message, name) => {
    expect(root.lookupType(`runtime.v1.${message}`).fields[name]?.id).toBe(fields.RemoveRequest.id);
  });

  it("have the id of what was made in the one field of both answers", () => {
    expect(fields.CreateContainerResponse.containerId).toBe(fields.RunPodSandboxResponse.podSandboxId);
  });

  it("ask a list for one id by the same number in both requests", () => {
    for (const message of ["ListPodSandboxRequest", "ListContainersRequest"]) {
      expect(root.lookupType(`runtime.v1.${message}`).fields.filter?.id).toBe(1);
    }
    for (const message of ["PodSandboxFilter", "ContainerFilter"]) {
      expect(root.lookupType(`runtime.v1.${message}`).fields.id?.id).toBe(1);
    }
  });
});

function encode(message: string, value: object): Uint8Array {
  return root.lookupType(`runtime.v1.${message}`).encode(value).finish();
}

describe("facts in lists", () => {
  it("are those of every pod that has an id", () => {
    const response = encode("ListPodSandboxResponse", {
      items: [
        {
          id: "s1",
          metadata: { name: "web", uid: "u1", namespace: "shop" },
          labels: { app: "web" },
          annotations: { "kubernetes.io/config.source": "api" },
          runtimeHandler: "kata",
        },
        { metadata: { name: "nobody" } },
      ],
    });
    expect(readPodList(response)).toEqual([
      {
        ...{ sandboxId: "s1", namespace: "shop", name: "web", uid: "u1", runtimeHandler: "kata" },
        labels: new Map([["app", "web"]]),
        annotations: new Map([["kubernetes.io/config.source", "api"]]),
        ...{ isStatic: false, incomplete: false },
      },
    ]);
  });

  it("are incomplete where a label was left out, not for an annotation that is a document", () => {
    const long = "x".repeat(2_000);
    const items = [
      { id: "s1", annotations: { manifest: long } },
      { id: "s2", labels: { app: long } },
    ];
    const found = readPodList(encode("ListPodSandboxResponse", { items }));
    expect(found.map(({ incomplete }) => incomplete)).toEqual([false, true]);
  });

  it("name a container by what the user wrote, where the runtime tells", () => {
    const response = encode("ListContainersResponse", {
      containers: [
        { id: "c1", podSandboxId: "s1", metadata: { name: "main" }, image: { image: "sha256:1" } },
        { id: "c2", podSandboxId: "s1", image: { image: "sha256:2", userSpecifiedImage: "web:2" } },
      ],
    });
    expect(readContainerList(response)).toEqual([
      { containerId: "c1", sandboxId: "s1", name: "main", image: "sha256:1" },
      { containerId: "c2", sandboxId: "s1", name: "", image: "web:2" },
    ]);
  });
});

describe("labels and annotations", () => {
  it("are kept as far as they are marks and not documents, and it is told when some are not", () => {
    const { kept, leftOut } = capEntries([
      ["a", "1"],
      ["long", "x".repeat(2_000)],
      ["b", "2"],
    ]);
    expect([...kept.keys()]).toEqual(["a", "b"]);
    expect(leftOut).toEqual(new Set(["long"]));
  });

  it("are told to be many where not even their keys can be kept", () => {
    const entries = Array.from({ length: 300 }, (_, index): [string, string] => [`key${index}`, "x"]);
    expect(capEntries(entries).leftOut).toBe("many");
  });

  it("do not answer for a later entry of the same key that was left out", () => {
    const { kept } = capEntries([
      ["a", "1"],
      ["a", "x".repeat(2_000)],
    ]);
    expect(kept.has("a")).toBe(false);
  });

  it("are bounded in number and in all", () => {
    const many = Array.from({ length: 1_000 }, (_, index) => [`key-${index}`, "v"] as const);
    expect(capEntries(many).kept.size).toBeLessThan(200);
    const heavy = Array.from({ length: 100 }, (_, index) => [`key-${index}`, "v".repeat(1_000)] as const);
    expect(capEntries(heavy).kept.size).toBeLessThan(20);
  });

  it.each([
    [{ "kubernetes.io/config.source": "file" }, true],
    [{ "kubernetes.io/config.source": "http" }, true],
    [{ "kubernetes.io/config.source": "api" }, false],
    [{ "kubernetes.io/config.mirror": "file" }, false],
    [{}, false],
  ])("%j make a pod static: %s", (annotations, expected) => {
    expect(isStaticPod(new Map(Object.entries(annotations)))).toBe(expected);
  });
});
