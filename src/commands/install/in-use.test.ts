/** Where the kubelet notes whose volume a mount is. */
import { expect, test } from "vitest";
import { recordBeside } from "./in-use.ts";

const pod = "/var/lib/kubelet/pods/1-2/volumes";
const devices = "/var/lib/kubelet/plugins/kubernetes.io/csi/volumeDevices";

test.each([
  [
    "a volume of a pod",
    `${pod}/kubernetes.io~csi/pvc-1/mount`,
    `${pod}/kubernetes.io~csi/pvc-1/vol_data.json`,
  ],
  ["a raw block volume", `${devices}/publish/pvc-1/1-2`, `${devices}/pvc-1/data/vol_data.json`],
  ["a volume of another kind", `${pod}/kubernetes.io~projected/token`, undefined],
  ["something that a pod mounted in its volume", `${pod}/kubernetes.io~csi/pvc-1/mount/inner`, undefined],
  ["any other mount", "/var/lib/trivet/pool", undefined],
])("%s", (_title, target, record) => {
  expect(recordBeside(target)).toBe(record);
});
