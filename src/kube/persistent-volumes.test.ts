import { describe, expect, test } from "vitest";
import type { ApiClient } from "./api-client.ts";
import { listPersistentVolumes, parsePersistentVolumes } from "./persistent-volumes.ts";

const filter = { driver: "local.csi.trivet.dev", topologyKey: "topology.local.csi.trivet.dev/node" };

const item = (name: string, driver = filter.driver) => ({
  kind: "PersistentVolume",
  metadata: { name },
  spec: {
    csi: { driver, volumeHandle: `tv-${name}` },
    claimRef: { namespace: "shop", name: "db" },
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [
          {
            matchExpressions: [
              { key: "kubernetes.io/os", operator: "In", values: ["linux"] },
              { key: filter.topologyKey, operator: "In", values: ["n1"] },
            ],
          },
        ],
      },
    },
  },
  status: { phase: "Bound" },
});

const facts = (name: string) => ({
  ...{ name, handle: `tv-${name}`, phase: "Bound", claim: "shop/db", nodes: ["n1"] },
});

describe("a list of PersistentVolumes", () => {
  test("is read as kubectl prints it, and what is not of this driver is left out", () => {
    const hostPath = {
      kind: "PersistentVolume",
      metadata: { name: "h" },
      spec: { hostPath: { path: "/x" } },
    };
    const list = { kind: "List", items: [item("a"), item("b", "other.example"), hostPath] };
    expect(parsePersistentVolumes(list, filter)).toEqual([facts("a")]);
  });

  test("may be a single one", () => {
    expect(parsePersistentVolumes(item("a"), filter)).toEqual([facts("a")]);
  });

  test.each([
    ["no object", 7],
    ["null", null],
    ["a list of something else", { kind: "List", items: [{ kind: "Pod" }] }],
    ["another kind", { kind: "PodList", items: [] }],
    ["a list without items", { kind: "List" }],
  ])("is not %s", (_, content) => {
    expect(() => parsePersistentVolumes(content, filter)).toThrow(
      expect.objectContaining({ kind: "decode" }),
    );
  });
});

function clientOf(
  answers: readonly { status: number; body: object }[],
): ApiClient & { readonly paths: string[] } {
  const paths: string[] = [];
  return {
    paths,
    async get({ path, onData }) {
      const answer = answers[paths.length];
      paths.push(path);
      if (!answer) throw new Error(`not expected: ${path}`);
      if (answer.status === 200) onData(Buffer.from(JSON.stringify(answer.body)));
      return { status: answer.status, message: "no" };
    },
    close: () => undefined,
  };
}

describe("asking the API server", () => {
  const { signal } = new AbortController();

  test("goes through all pages", async () => {
    const page = (name: string, next: string) => ({
      status: 200,
      body: { kind: "PersistentVolumeList", metadata: { continue: next }, items: [item(name)] },
    });
    const client = clientOf([page("a", "to/ken"), page("b", "")]);
    const found = await listPersistentVolumes(client, filter, signal);
    expect(found).toEqual([facts("a"), facts("b")]);
    expect(client.paths[1]).toContain("continue=to%2Fken");
  });

  test("a refusal names what the account lacks, and is no empty cluster", async () => {
    const client = clientOf([{ status: 403, body: {} }]);
    const asked = listPersistentVolumes(client, filter, signal);
    await expect(asked).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("get and list"),
    });
  });
});
