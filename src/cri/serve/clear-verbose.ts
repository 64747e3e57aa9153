/**
 * Takes `verbose` out of the requests that have it: the verbose answers of runtimes carry whole configurations, with the
 * environment of every container and the credentials of registries, which is more than a restricted listener may show.
 */
import { FieldWalk } from "../wire/fields.ts";

/** The number of the field, by the service and name of the method; v1alpha2, which older runtimes serve too, has the same. */
const verboseFields: ReadonlyMap<string, number> = new Map([
  ["RuntimeService/Status", 1],
  ["RuntimeService/PodSandboxStatus", 2],
  ["RuntimeService/ContainerStatus", 2],
  ["ImageService/ImageStatus", 2],
]);

const CRI_OF_ANY_VERSION = /^\/runtime\.v\w+\.(\w+\/\w+)$/;

function verboseField(path: string): number | undefined {
  return verboseFields.get(CRI_OF_ANY_VERSION.exec(path)?.[1] ?? "");
}

/** Whether requests of this method have the field, and must be read. */
export function hasVerbose(path: string): boolean {
  return verboseField(path) !== undefined;
}

/**
 * The message without the field, in whatever form it stands there, and else as it was, byte for byte. Undefined where
 * nothing had to be taken out. Throws `decode` for what is no protobuf.
 */
export function withoutVerbose(path: string, message: Uint8Array): Uint8Array | undefined {
  const field = verboseField(path);
  if (field === undefined) return undefined;
  const kept: Uint8Array[] = [];
  let from = 0;
  const walk = new FieldWalk(message);
  while (walk.next()) {
    if (walk.number !== field) continue;
    kept.push(message.subarray(from, walk.start));
    from = walk.end;
  }
  if (kept.length === 0) return undefined;
  return Buffer.concat([...kept, message.subarray(from)]);
}
