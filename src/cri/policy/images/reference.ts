/**
 * Image references as containerd and the kubelet read them: short names are of Docker Hub. Pure text; an id of an image is
 * no reference.
 */

export interface ImageReference {
  /** `docker.io`, `registry.example.org:5000`. */
  readonly registry: string;
  /** `library/nginx`. */
  readonly repository: string;
  /** `latest` where neither a tag nor a digest was given. */
  readonly tag: string;
  /** `sha256:…`, or empty. */
  readonly digest: string;
  /** In full, such as `docker.io/library/nginx:1.25`. */
  readonly name: string;
}

const DOCKER_HUB = "docker.io";
const LIBRARY = "library/";
const DEFAULT_TAG = "latest";
/** Names of the same registry: what serves Docker Hub's images has several, and its pulls work by each. */
const HUB_NAMES: ReadonlySet<string> = new Set([
  DOCKER_HUB,
  "index.docker.io",
  "registry-1.docker.io",
  "registry.hub.docker.com",
]);
const DEFAULT_PORT = ":443";
/** A registry has at most 253 characters, a repository 255, a tag 128 and a digest 135; with some room for ports. */
export const MAX_REFERENCE = 1_024;

/** Runtimes take the beginning of a digest for the image on the node that has it: nothing called sha256 is ever pulled. */
const IMAGE_ID = /^([0-9a-f]{64}|sha256:[0-9a-f]{1,64})$/;
/** What people shorten ids to; a repository of that name would be a strange one. */
const SHORT_ID = /^[0-9a-f]{12,63}$/;
const REPOSITORY = /^[a-z0-9][a-z0-9._/-]*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[a-zA-Z][\w+.-]*:[0-9a-fA-F]{32,}$/;
const REGISTRY = /^[a-zA-Z0-9.-]+(:\d+)?$|^\[[0-9a-fA-F:]+\](:\d+)?$/;

/** Whether the text names an image by its id, which means the same in every registry. */
export function isImageId(text: string): boolean {
  return IMAGE_ID.test(text) || SHORT_ID.test(text);
}

/** Whether the first part of a name is a registry's host, by the rule that Docker set. */
export function isRegistry(part: string): boolean {
  return /[.:]/.test(part) || part === "localhost" || part !== part.toLowerCase();
}

/** Hosts are the same in any case, and with the port that is meant without one. */
export function plainRegistry(registry: string): string {
  const host = registry.toLowerCase();
  const plain = host.endsWith(DEFAULT_PORT) ? host.slice(0, -DEFAULT_PORT.length) : host;
  return HUB_NAMES.has(plain) ? DOCKER_HUB : plain;
}

/** The registry and the rest of a name without tag and digest, both in full. */
export function splitName(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  if (!isRegistry(first)) return { registry: DOCKER_HUB, repository: inLibrary(name) };
  const repository = name.slice(slash + 1);
  const registry = plainRegistry(first);
  return { registry, repository: registry === DOCKER_HUB ? inLibrary(repository) : repository };
}

function inLibrary(repository: string): string {
  return repository.includes("/") ? repository : `${LIBRARY}${repository}`;
}

/** Name, and what stands behind it (`:tag`, `@digest`, both or nothing), as written. */
export function cutReference(text: string): { readonly name: string; readonly behind: string } {
  const at = text.indexOf("@");
  const head = at < 0 ? text : text.slice(0, at);
  const colon = head.indexOf(":", head.lastIndexOf("/") + 1);
  const end = colon < 0 ? head.length : colon;
  return { name: head.slice(0, end), behind: text.slice(end) };
}

/** Undefined for an id, and for what is no reference. */
export function parseImage(text: string): ImageReference | undefined {
  if (text === "" || text.length > MAX_REFERENCE || isImageId(text)) return undefined;
  const { name, behind } = cutReference(text);
  const { registry, repository } = splitName(name);
  if (!REGISTRY.test(registry) || !REPOSITORY.test(repository)) return undefined;
  const [tagPart = "", digest = ""] = behind.split("@", 2);
  const tag = tagPart.slice(1) || (digest === "" ? DEFAULT_TAG : "");
  if ((tag !== "" && !TAG.test(tag)) || (digest !== "" && !DIGEST.test(digest))) return undefined;
  const full = `${registry}/${repository}${tag && `:${tag}`}${digest && `@${digest}`}`;
  return { registry, repository, tag, digest, name: full };
}
