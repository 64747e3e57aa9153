/** A folder as a layer: sorted, owned by root, without times, so that equal files give equal bytes. */
import { mkdir, readdir, readFile, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { TarWriter } from "../../test/e2e/support/tar.ts";
import { blobOf, digestOf, type StoredLayer } from "./oci.ts";

const compress = promisify(gzip);
/** What is smaller than this saves a node a second of its network, and costs everybody who builds one several. */
const GZIP_LEVEL = 6;

/** A layer, and what it takes on a disk. */
export interface PackedLayer extends StoredLayer {
  readonly unpackedBytes: number;
}

/**
 * Packs a folder. What was packed before is taken from `cache`, where it lies under the digest of its tar: only the
 * smallest layer changes from one build to the next.
 */
export async function packLayer(folder: string, cache: string): Promise<PackedLayer> {
  const tar = new TarWriter();
  const unpackedBytes = await addFolder(tar, folder, "");
  const bytes = tar.end();
  const diffId = digestOf(bytes);
  const path = join(cache, `${diffId.replace("sha256:", "")}.tar.gz`);
  const content = (await readFile(path).catch(() => undefined)) ?? (await packAnew(bytes, path));
  return { blob: blobOf(content), diffId, compressed: true, unpackedBytes };
}

async function packAnew(tar: Buffer, path: string): Promise<Buffer> {
  const content = await compress(tar, { level: GZIP_LEVEL });
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(`${path}.${process.pid}`, content);
  await rename(`${path}.${process.pid}`, path);
  return content;
}

/** Removes what no image that is built now has taken from the cache. */
export async function trimCache(cache: string, used: readonly StoredLayer[]): Promise<void> {
  const names = new Set(used.map(({ diffId }) => `${diffId.replace("sha256:", "")}.tar.gz`));
  for (const name of await readdir(cache)) {
    if (!names.has(name)) await rm(join(cache, name), { force: true });
  }
}

async function addFolder(tar: TarWriter, folder: string, below: string): Promise<number> {
  let bytes = 0;
  const entries = await readdir(join(folder, below), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    const path = join(folder, name);
    if (entry.isSymbolicLink()) tar.symlink(name, await readlink(path));
    else if (entry.isDirectory()) {
      tar.directory(`${name}/`, modeOf((await stat(path)).mode));
      bytes += await addFolder(tar, folder, name);
    } else {
      const content = await readFile(path);
      tar.file(name, content, modeOf((await stat(path)).mode));
      bytes += content.length;
    }
  }
  return bytes;
}

/** As a umask of 022 would have it, whatever that of the builder was; a sticky bit stays. */
function modeOf(mode: number): number {
  if (mode & 0o1000) return 0o1777;
  return mode & 0o100 ? 0o755 : 0o644;
}
