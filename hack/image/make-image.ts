/**
 * `make image`: the bundle, packed with Node.js and what Debian brings into `dist/trivet-image-ARCHITECTURE.tar`, an OCI archive for
 * `ctr --namespace k8s.io images import` and its like. No registry, and no other program that knows of images, has a part in it.
 */
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type PackedLayer, packLayer, trimCache } from "./layer.ts";
import { makeRoot } from "./make-root.ts";
import { architecture, writeOciArchive } from "./oci.ts";
import { goalBytes, imageName, imageSettings, layers } from "./settings.ts";

const dist = fileURLToPath(new URL("../../dist", import.meta.url));
const work = join(dist, "image");
const cache = join(work, "layers");

export const archivePath = join(dist, `trivet-image-${architecture}.tar`);

/** The image that was built. */
export interface BuiltImage {
  readonly path: string;
  readonly name: string;
  /** Of its manifest. */
  readonly digest: string;
  readonly layers: readonly PackedLayer[];
}

/** Builds it from `dist/trivet`. */
export async function buildImage(path: string = archivePath): Promise<BuiltImage> {
  const root = join(work, `root.${process.pid}`);
  try {
    makeRoot(root);
    const packed = await Promise.all(layers.map((layer) => packLayer(join(root, layer), cache)));
    const { entrypoint, command, env, workingDirectory, labels } = imageSettings;
    const config = {
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      ...{ Entrypoint: entrypoint, Cmd: command, WorkingDir: workingDirectory, Labels: labels },
    };
    const createdSeconds = Number(process.env.SOURCE_DATE_EPOCH ?? 0);
    const image = { name: imageName, layers: packed, config, history: layers, createdSeconds };
    const [digest = ""] = await writeOciArchive(path, [image]);
    await trimCache(cache, packed);
    return { path, name: imageName, digest, layers: packed };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

async function main(): Promise<void> {
  const { path, name, digest, layers: packed } = await buildImage();
  const rows = layers.map((layer, index) => [
    layer,
    packed[index]?.unpackedBytes ?? 0,
    packed[index]?.blob.content.length ?? 0,
  ]) as [string, number, number][];
  const sum = (column: 1 | 2) => rows.reduce((total, row) => total + row[column], 0);
  const line = ([what, unpacked, size]: [string, number, number]) =>
    `  ${what.padEnd(8)}${megabytes(unpacked).padStart(10)}${megabytes(size).padStart(10)}\n`;
  process.stdout.write(`  layer     unpacked    packed\n${rows.map(line).join("")}`);
  process.stdout.write(line(["all", sum(1), sum(2)]));
  const verdict = sum(1) <= goalBytes ? "within" : "beyond";
  process.stdout.write(`${verdict} the goal of ${megabytes(goalBytes)} unpacked\n`);
  process.stdout.write(`${path}: ${megabytes((await stat(path)).size)}, ${name}, ${digest}\n`);
  if (sum(1) > goalBytes) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) await main();
