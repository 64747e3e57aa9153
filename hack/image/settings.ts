/** What an image says of itself. The Dockerfile says the same, which a test compares. */
import { version } from "../../src/version.ts";

/** How containerd knows an image that `make image` has built. */
export const imageName = `trivet.local/trivet:${version}`;

export const imageSettings = {
  entrypoint: ["/usr/bin/trivet"],
  command: ["--help"],
  env: { PATH: "/usr/sbin:/usr/bin" },
  workingDirectory: "/",
  labels: {
    "org.opencontainers.image.title": "Trivet",
    "org.opencontainers.image.description":
      "Node-level plugin daemon for Kubernetes: CSI local volumes, CNI pod network, CRI proxy",
    "org.opencontainers.image.licenses": "Apache-2.0",
  },
} as const;

/** Each a folder of what `make-root.ts` makes, and a layer; what changes least comes first. */
export const layers = ["debian", "node", "trivet"] as const;
export type Layer = (typeof layers)[number];

/** All that an image may take, unpacked. */
export const goalBytes = 200e6;
