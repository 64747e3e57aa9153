/** The PersistentVolume of an adopted volume, for `kubectl apply -f -`. Pure. */
import { driverName } from "../names.ts";
import type { AdoptedVolume } from "./plan.ts";

/** As the API takes it. It is to be retained: what was there before Trivet shall not go with a claim by mistake. */
export function persistentVolumeOf(volume: AdoptedVolume, storageClass: string): Record<string, unknown> {
  const { id, name, sizeBytes, claim, topology } = volume;
  return {
    ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name } },
    spec: {
      capacity: { storage: String(sizeBytes) },
      ...{
        accessModes: ["ReadWriteOnce"],
        volumeMode: "Filesystem",
        persistentVolumeReclaimPolicy: "Retain",
      },
      storageClassName: storageClass,
      ...(claim ? { claimRef: { namespace: claim.namespace, name: claim.name } } : {}),
      csi: { driver: driverName, volumeHandle: id },
      nodeAffinity: {
        required: {
          nodeSelectorTerms: [
            {
              matchExpressions: Object.entries(topology).map(([key, value]) => ({
                ...{ key, operator: "In", values: [value] },
              })),
            },
          ],
        },
      },
    },
  };
}
