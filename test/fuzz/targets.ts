/** All fuzz targets, by the part of the proxy that they try. */
import { flowTarget } from "./flow-target.ts";
import { frameReaderTarget } from "./frame-reader-target.ts";
import { hpackTarget } from "./hpack-target.ts";
import { machineTarget } from "./machine-target.ts";
import { protobufTarget } from "./protobuf-target.ts";
import type { FuzzTarget } from "./target.ts";

export const targets: readonly FuzzTarget[] = [
  frameReaderTarget,
  hpackTarget,
  protobufTarget,
  machineTarget,
  flowTarget,
];
