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
// A reference has at most 255 characters of name, 128 of tag, and a digest.
const MAX_LENGTH = 512;

const IMAGE_ID = /^(sha256:)?[0-9a-f]{64}$/;
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

/** The registry and the rest of a name without tag and digest, both in full. */
export function splitName(name: string): { readonly registry: string; readonly repository: string } {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  if (!isRegistry(first)) return { registry: DOCKER_HUB, repository: inLibrary(name) };
  const repository = name.slice(slash + 1);
  const hub = first === DOCKER_HUB || first === "index.docker.io";
  return hub ? { registry: DOCKER_HUB, repository: inLibrary(repository) } : { registry: first, repository };
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
  if (text === "" || text.length > MAX_LENGTH || isImageId(text)) return undefined;
  const { name, behind } = cutReference(text);
  const { registry, repository } = splitName(name);
  if (!REGISTRY.test(registry) || !REPOSITORY.test(repository)) return undefined;
  const [tagPart = "", digest = ""] = behind.split("@", 2);
  const tag = tagPart.slice(1) || (digest === "" ? DEFAULT_TAG : "");
  if ((tag !== "" && !TAG.test(tag)) || (digest !== "" && !DIGEST.test(digest))) return undefined;
  const full = `${registry}/${repository}${tag && `:${tag}`}${digest && `@${digest}`}`;
  return { registry, repository, tag, digest, name: full };
}
