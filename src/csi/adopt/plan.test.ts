import { describe, expect, test } from "vitest";
import type { MountInfo } from "../../host/mount.ts";
import { persistentVolumeOf } from "./manifest.ts";
import { completeRequest, requireNoMounts, requireOutside } from "./plan.ts";

const mountAt = (mountPoint: string) => ({ mountPoint }) as MountInfo;

describe("what is asked for", () => {
  test("the name of a local-path-provisioner directory tells the claim", () => {
    const path = "/opt/lpp/pvc-0b0e1111-2222-3333-4444-555566667777_shop_data-db-0";
    expect(completeRequest({ path })).toMatchObject({
      claim: { namespace: "shop", name: "data-db-0" },
      name: "adopted-pvc-0b0e1111-2222-3333-4444-555566667777-shop-data-db-0",
    });
  });

  test("any other name becomes one that Kubernetes takes", () => {
    expect(completeRequest({ path: "/srv/My Data!/" })).toMatchObject({
      path: "/srv/My Data!",
      name: "adopted-my-data",
    });
  });

  test.each([
    ["a relative path", { path: "srv/data" }, "PATH"],
    ["a top directory", { path: "/srv" }, "PATH"],
    ["a top directory by a detour", { path: "/srv/x/.." }, "PATH"],
    ["a part of the host", { path: "/etc/kubernetes" }, "PATH"],
    ["the host's by a detour", { path: "/srv/../etc/kubernetes" }, "PATH"],
    ["a NUL", { path: "/srv/a\0b" }, "PATH"],
    ["a claim that is none", { path: "/srv/a", claim: { namespace: "a b", name: "c" } }, "--claim"],
    ["a name that is none", { path: "/srv/a", name: "../x" }, "--name"],
    ["no size", { path: "/srv/a", sizeBytes: 0 }, "--size"],
  ])("%s is refused, and the field named", (_, request, subject) => {
    expect(() => completeRequest(request)).toThrow(expect.objectContaining({ kind: "invalid", subject }));
  });
});

test.each([
  ["/srv/data", "is a mount point itself"],
  ["/srv/data/in/it", "has a mount in it, at /srv/data/in/it"],
])("a mount at %s is told", (mountPoint, message) => {
  expect(() => requireNoMounts([mountAt("/"), mountAt(mountPoint)], "/srv/data")).toThrow(message);
});

test("a mount beside it is no matter", () => {
  expect(() => requireNoMounts([mountAt("/srv/data2")], "/srv/data")).not.toThrow();
});

test.each(["/pool/volumes/x", "/pool", "/"])("%s is not outside of the pool", (path) => {
  expect(() => requireOutside(["/pool"], path)).toThrow("lie in one another");
});

test("the PersistentVolume is retained, bound to the claim, and of this node alone", () => {
  const topology = { "topology.local.csi.trivet.dev/node": "n1" };
  const claim = { namespace: "shop", name: "db" };
  const volume = {
    id: "tv-x",
    name: "adopted-a",
    pool: "default",
    sizeBytes: 4096,
    claim,
    topology,
    outcome: "renamed" as const,
  };
  expect(persistentVolumeOf(volume, "fast")).toMatchObject({
    metadata: { name: "adopted-a" },
    spec: {
      capacity: { storage: "4096" },
      persistentVolumeReclaimPolicy: "Retain",
      storageClassName: "fast",
      claimRef: claim,
      csi: { driver: "local.csi.trivet.dev", volumeHandle: "tv-x" },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: [
                { key: "topology.local.csi.trivet.dev/node", operator: "In", values: ["n1"] },
              ],
            },
          ],
        },
      },
    },
  });
});
