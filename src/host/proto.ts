/** Loads the .proto files of this repository for grpc-js. 64-bit numbers are strings, bytes are Buffers, enums names. */
import { join } from "node:path";
import { type GrpcObject, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { packageRoot } from "./package-root.ts";

/** The three APIs: the folder that holds the files, then where each lives in it. */
const files = {
  csi: "csi/v1/csi.proto",
  runtime: "runtime/v1/api.proto",
  pluginregistration: "pluginregistration/v1/api.proto",
} as const;

export type Api = keyof typeof files;

const packages: Readonly<Record<Api, readonly string[]>> = {
  csi: ["csi", "v1"],
  runtime: ["runtime", "v1"],
  pluginregistration: ["pluginregistration"],
};

/** The folder `proto/` of this checkout or bundle. */
export const protoDirectory = join(packageRoot, "proto");

/** The services of one API by name; `Identity`, `Controller` and so on, with `.service` for servers. */
export function loadServices(
  api: Api,
  directory = protoDirectory,
): Readonly<Record<string, ServiceClientConstructor>> {
  const definition = loadSync(files[api], {
    includeDirs: [directory],
    keepCase: true,
    longs: String,
    enums: String,
    // Maps and lists are always there; scalars and messages only when set: `required_bytes: 0` is not "absent".
    arrays: true,
    objects: true,
    defaults: true,
    oneofs: true,
  });
  let found: GrpcObject = loadPackageDefinition(definition);
  for (const part of packages[api]) found = found[part] as GrpcObject;
  return found as unknown as Record<string, ServiceClientConstructor>;
}
