/**
 * Takes `verbose` out of the requests that have it: the verbose answers of runtimes carry whole configurations, with the
 * environment of every container and the credentials of registries, which is more than a restricted listener may show.
 */
import { FieldWalk } from "../wire/fields.ts";

/** The number of the field, by the `:path` of the method. */
const verboseField: ReadonlyMap<string, number> = new Map([
  ["/runtime.v1.RuntimeService/Status", 1],
  ["/runtime.v1.RuntimeService/PodSandboxStatus", 2],
  ["/runtime.v1.RuntimeService/ContainerStatus", 2],
  ["/runtime.v1.ImageService/ImageStatus", 2],
]);

/** Whether requests of this method have the field, and must be read. */
export function hasVerbose(path: string): boolean {
  return verboseField.has(path);
}

/**
 * The message without the field, in whatever form it stands there, and else as it was, byte for byte. Undefined where
 * nothing had to be taken out. Throws `decode` for what is no protobuf.
 */
export function withoutVerbose(path: string, message: Uint8Array): Uint8Array | undefined {
  const field = verboseField.get(path);
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
