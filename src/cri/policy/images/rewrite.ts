/** Names of images under another prefix: the registry that a node can reach in the place of the one that was written. */
import { cutReference, isImageId, isRegistry, parseImage, plainRegistry, splitName } from "./reference.ts";

export interface ImageRewrite {
  /** `docker.io`, or `docker.io/bitnami`: a registry and whole parts of a path. Without a slash at the end. */
  readonly from: string;
  readonly to: string;
  /** Credentials for the old registry are given to the new one too. */
  readonly keepCredentials: boolean;
}

export interface RewrittenImage {
  readonly image: string;
  readonly rewrite: ImageRewrite;
  /** The image now comes from another host. */
  readonly otherRegistry: boolean;
}

const PREFIX = /^[a-zA-Z0-9.[\]-]+(:\d+)?(\/[a-z0-9][a-z0-9._-]*)*$/;

/** A prefix as a policy has it, without a slash at its end; or undefined, where it is none. */
export function parsePrefix(text: string): string | undefined {
  const prefix = text.endsWith("/") ? text.slice(0, -1) : text;
  const [host = ""] = prefix.split("/", 1);
  return PREFIX.test(prefix) && isRegistry(host) ? prefix : undefined;
}

function registryOf(prefix: string): string {
  return prefix.split("/", 1)[0] ?? "";
}

/** The prefix with its registry as names in full have it. */
function plainPrefix(prefix: string): string {
  const registry = registryOf(prefix);
  return `${plainRegistry(registry)}${prefix.slice(registry.length)}`;
}

/**
 * The image by the first rewrite that has its prefix; undefined where none has, and for ids, which no registry has given.
 * Tag and digest stay as they are: a digest means the same content wherever it comes from.
 */
export function rewriteImage(image: string, rewrites: readonly ImageRewrite[]): RewrittenImage | undefined {
  if (isImageId(image) || !parseImage(image)) return undefined;
  const { name, behind } = cutReference(image);
  const { registry, repository } = splitName(name);
  const full = `${registry}/${repository}`;
  const meant = (from: string) => full === from || full.startsWith(`${from}/`);
  const rewrite = rewrites.find(({ from }) => meant(plainPrefix(from)));
  if (!rewrite) return undefined;
  const changed = `${rewrite.to}${full.slice(plainPrefix(rewrite.from).length)}`;
  if (changed === full) return undefined;
  return {
    image: `${changed}${behind}`,
    rewrite,
    otherRegistry: plainRegistry(registryOf(rewrite.to)) !== registry,
  };
}
