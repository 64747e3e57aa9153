/** Images of several versions: all alike but for the version's number, as two builds of the same day are. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packLayer } from "../../../hack/image/layer.ts";
import { makeRoot } from "../../../hack/image/make-root.ts";
import { writeOciArchive } from "../../../hack/image/oci.ts";
import { imageSettings, layers } from "../../../hack/image/settings.ts";
import { packageRoot } from "../../../src/host/package-root.ts";

export const versionedImage = (version: string) => `trivet.local/trivet:${version}`;

/** Packs `dist/trivet` into one archive at `path`. Layers that were packed before are taken from the build's own cache. */
export async function buildVersionedImages(path: string, versions: readonly string[]): Promise<void> {
  const work = join(packageRoot, "dist/image");
  const root = join(work, `versions.${process.pid}`);
  const cache = join(work, "layers");
  const { entrypoint, command, env, workingDirectory, labels } = imageSettings;
  const config = {
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    ...{ Entrypoint: entrypoint, Cmd: command, WorkingDir: workingDirectory, Labels: labels },
  };
  try {
    makeRoot(root);
    const about = join(root, "trivet/usr/lib/trivet/package.json");
    const manifest = JSON.parse(readFileSync(about, "utf8")) as object;
    const [debian, node] = await Promise.all([
      packLayer(join(root, "debian"), cache),
      packLayer(join(root, "node"), cache),
    ]);
    const images = [];
    for (const version of versions) {
      writeFileSync(about, JSON.stringify({ ...manifest, version }));
      const trivet = await packLayer(join(root, "trivet"), join(root, "cache"));
      const name = versionedImage(version);
      images.push({ name, layers: [debian, node, trivet], config, history: layers, createdSeconds: 0 });
    }
    await writeOciArchive(path, images);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
