/** Writes OCI image archives (image-spec v1.0): equal content gives equal bytes. In memory. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { TarWriter } from "../../test/e2e/support/tar.ts";

/** Bytes under their own digest, `sha256:` and hex digits. */
export interface Blob {
  readonly digest: string;
  readonly content: Buffer;
}

/** A layer as it is stored, and the digest of the tar in it, which is the same for a layer that is not compressed. */
export interface StoredLayer {
  readonly blob: Blob;
  readonly diffId: string;
  readonly compressed: boolean;
}

/** One image of an archive. */
export interface OciImage {
  /** What `ctr images import` calls it. */
  readonly name: string;
  readonly layers: readonly StoredLayer[];
  /** `config` of the image's configuration: Entrypoint, Env and so on. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What made each layer, for people. */
  readonly history: readonly string[];
  /** Seconds since 1970; nothing says when it was made without it. */
  readonly createdSeconds?: number;
}

const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** This machine's processor, as images name it. */
export const architecture = architectures[process.arch] ?? process.arch;

export function digestOf(content: Buffer): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

export function blobOf(content: Buffer | object): Blob {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
  return { digest: digestOf(bytes), content: bytes };
}

/** A layer that is stored as it is. */
export function plainLayer(tar: Buffer): StoredLayer {
  const blob = blobOf(tar);
  return { blob, diffId: blob.digest, compressed: false };
}

const mediaType = (kind: string) => `application/vnd.oci.image.${kind}`;

function descriptor(kind: string, { digest, content }: Blob) {
  return { mediaType: mediaType(kind), digest, size: content.length };
}

/** An image's blobs but for its layers, and its entry in the index. */
function encode({ name, layers, config, history, createdSeconds }: OciImage) {
  const created =
    createdSeconds === undefined ? {} : { created: new Date(createdSeconds * 1000).toISOString() };
  const configuration = blobOf({
    ...created,
    ...{ architecture, os: "linux", config },
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    history: history.map((created_by) => ({ ...created, created_by })),
  });
  const manifest = blobOf({
    schemaVersion: 2,
    mediaType: mediaType("manifest.v1+json"),
    config: descriptor("config.v1+json", configuration),
    layers: layers.map(({ blob, compressed }) =>
      descriptor(compressed ? "layer.v1.tar+gzip" : "layer.v1.tar", blob),
    ),
  });
  const entry = {
    ...descriptor("manifest.v1+json", manifest),
    platform: { architecture, os: "linux" },
    annotations: { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name },
  };
  return { blobs: [configuration, manifest], entry };
}

/** Writes an archive with these images to `path`, for `ctr images import`; gives the digest of each manifest. */
export async function writeOciArchive(path: string, images: readonly OciImage[]): Promise<string[]> {
  const encoded = images.map(encode);
  const tar = new TarWriter();
  tar.file("oci-layout", Buffer.from(JSON.stringify({ imageLayoutVersion: "1.0.0" })));
  tar.file(
    "index.json",
    Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: encoded.map(({ entry }) => entry) })),
  );
  tar.directory("blobs/", 0o755);
  tar.directory("blobs/sha256/", 0o755);
  const layers = images.flatMap((image) => image.layers.map(({ blob }) => blob));
  const blobs = new Map(
    [...layers, ...encoded.flatMap((image) => image.blobs)].map((blob) => [blob.digest, blob.content]),
  );
  for (const [digest, content] of blobs) tar.file(`blobs/${digest.replace(":", "/")}`, content);
  await writeFile(path, tar.end());
  return encoded.map(({ entry }) => entry.digest);
}
