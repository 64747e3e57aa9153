/** The image store and the image methods. "Pulling" makes a record; which names a registry has is the test's choice. */
import { createHash } from "node:crypto";
import { type Handlers, streamed, unary } from "./handlers.ts";
import type { Image } from "./messages.ts";
import { nowNs, type State } from "./state.ts";
import { notFound, unknown } from "./status.ts";

const IMAGE_SIZE_BYTES = 2_000_000;

interface SpecRequest {
  readonly image: { readonly image: string } | null;
}

/** A short name in full, as containerd does it: default registry, `library/` and `:latest` added. */
export function normalizeImageName(name: string): string {
  const [first = "", ...rest] = name.split("/");
  const hasRegistry =
    rest.length > 0 && (first.includes(".") || first.includes(":") || first === "localhost");
  const path = hasRegistry ? name : `docker.io/${rest.length === 0 ? "library/" : ""}${name}`;
  return /[:@][^/]*$/.test(path) ? path : `${path}:latest`;
}

/** The record of an image by this name. Ids and digests follow from the name, so tests can predict them. */
export function makeImage(name: string): Image {
  const tag = normalizeImageName(name);
  const digest = (salt: string) => `sha256:${createHash("sha256").update(salt).update(tag).digest("hex")}`;
  return {
    id: digest("config"),
    repo_tags: [tag],
    repo_digests: [`${tag.replace(/:[^/]*$/, "")}@${digest("manifest")}`],
    size: String(IMAGE_SIZE_BYTES),
    pinned: false,
  };
}

/** By id (whole or a prefix), by name or by digest. */
export function resolveImage(state: State, name: string): Image | undefined {
  if (name === "") return undefined;
  const byId = state.images.get(name) ?? state.images.get(`sha256:${name}`);
  if (byId) return byId;
  const full = normalizeImageName(name);
  return [...state.images.values()].find(
    ({ repo_tags, repo_digests }) => repo_tags.includes(full) || repo_digests.includes(full),
  );
}

export interface ImageOptions {
  /** Whether the registry has an image of this (full) name. Default: it has every image. */
  readonly registry: (name: string) => boolean;
  /** Reported by ImageFsInfo. */
  readonly mountpoint: string;
}

export function createImageMethods(state: State, { registry, mountpoint }: ImageOptions): Partial<Handlers> {
  const list = ({ filter }: { readonly filter: SpecRequest | null }): Image[] => {
    const wanted = filter?.image?.image;
    if (!wanted) return [...state.images.values()];
    const image = resolveImage(state, wanted);
    return image ? [image] : [];
  };
  return {
    unary: {
      ListImages: unary<{ filter: SpecRequest | null }>((request) => ({ images: list(request) })),
      // An image that is not there is an answer without an image, never an error.
      ImageStatus: unary<SpecRequest>(({ image }) => ({
        image: resolveImage(state, image?.image ?? "") ?? null,
      })),
      PullImage: unary<SpecRequest>(({ image }) => {
        const name = normalizeImageName(image?.image ?? "");
        if (!registry(name)) {
          throw notFound(
            `failed to pull and unpack image "${name}": failed to resolve reference "${name}": ${name}`,
          );
        }
        const pulled = resolveImage(state, name) ?? makeImage(name);
        state.images.set(pulled.id, pulled);
        return { image_ref: pulled.id };
      }),
      RemoveImage: unary<SpecRequest>(({ image }) => {
        if (!image) throw unknown("image is not specified");
        const found = resolveImage(state, image.image);
        if (found) state.images.delete(found.id);
        return {};
      }),
      ImageFsInfo: unary(() => ({
        image_filesystems: [
          {
            timestamp: String(nowNs()),
            fs_id: { mountpoint },
            used_bytes: { value: String(state.images.size * IMAGE_SIZE_BYTES) },
            inodes_used: { value: String(state.images.size) },
          },
        ],
      })),
    },
    stream: { StreamImages: streamed("images", list) },
  };
}
