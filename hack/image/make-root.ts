/**
 * `node hack/image/make-root.ts DIRECTORY`: the image's file system, as one folder a layer, from the packages of the Debian that
 * this runs on, the pinned Node.js and `dist/trivet`. The Dockerfile and `make image` both call it, so that they cannot differ.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findFiles, ownersOf, statusOf, wantedFiles } from "./debian-files.ts";
import type { Layer } from "./settings.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const bundle = join(root, "dist/trivet");
const nodePackage = join(root, `node_modules/node-linux-${process.arch}`);
/** Not /opt/trivet: that is the host's, and may be mounted over it. */
const home = "usr/lib/trivet";

/** Where a pod or a program finds something mounted, and what must be there for it. */
const directories = [
  "dev",
  "etc",
  "mnt",
  "proc",
  "run",
  "sys",
  "tmp",
  "usr/bin",
  "usr/sbin",
  "var/lib",
  "var/log",
];
const links = {
  ...{ bin: "usr/bin", sbin: "usr/sbin", lib: "usr/lib", "usr/bin/sh": "dash" },
  // containerd names the namespaces of its pods by it.
  "var/run": "../run",
};
const texts = {
  "etc/passwd": "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
  "etc/group": "root:x:0:\nnogroup:x:65534:\n",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/** Makes the folders `debian`, `node` and `trivet` in `target`, which is emptied first. */
export function makeRoot(target: string): void {
  rmSync(target, { recursive: true, force: true });
  const into = (layer: Layer) => join(target, layer);
  putTrivet(into("trivet"));
  putNode(into("node"));
  const programs = [join(nodePackage, "bin/node"), join(bundle, "lib/koffi.node")];
  putDebian(into("debian"), programs);
}

function putTrivet(layer: string): void {
  if (!existsSync(join(bundle, "main.js")))
    throw new Error("dist/trivet is missing: type 'make bundle' first");
  const dates = { preserveTimestamps: false };
  cpSync(bundle, join(layer, home), { recursive: true, ...dates });
  mkdirSync(join(layer, "usr/bin"), { recursive: true });
  symlinkSync(`../../${home}/bin/trivet`, join(layer, "usr/bin/trivet"));
}

/** The program alone, without its symbols, which are a tenth of it. */
function putNode(layer: string): void {
  mkdirSync(join(layer, home, "bin"), { recursive: true });
  mkdirSync(join(layer, "usr/share/doc/nodejs"), { recursive: true });
  const node = join(layer, home, "bin/node");
  execFileSync("strip", ["--strip-all", "-o", node, join(nodePackage, "bin/node")]);
  chmodSync(node, 0o755);
  copyFileSync(join(nodePackage, "LICENSE"), join(layer, "usr/share/doc/nodejs/copyright"));
}

function putDebian(layer: string, programs: readonly string[]): void {
  const put = (path: string): string => {
    const made = join(layer, path);
    mkdirSync(dirname(made), { recursive: true });
    return made;
  };
  for (const path of directories) mkdirSync(join(layer, path), { recursive: true });
  chmodSync(join(layer, "tmp"), 0o1777);
  for (const [path, to] of Object.entries(links)) symlinkSync(to, put(path));
  for (const [path, text] of Object.entries(texts)) writeFileSync(put(path), text);
  const wanted = wantedFiles().flatMap(({ paths }) => paths);
  const files = findFiles(wanted, programs);
  for (const { path, names } of files) {
    copyFileSync(path, put(path));
    for (const name of names) symlinkSync(relative(dirname(name), path), put(name));
  }
  if (existsSync(join(layer, "usr/lib64"))) symlinkSync("usr/lib64", join(layer, "lib64"));
  // For scanners, in the form that images without a package manager have; and the licences, which must go along.
  for (const name of [...new Set(ownersOf(files).values())].sort()) {
    writeFileSync(put(`var/lib/dpkg/status.d/${name}`), statusOf(name));
    copyFileSync(realpathSync(`/usr/share/doc/${name}/copyright`), put(`usr/share/doc/${name}/copyright`));
  }
}

if (process.argv[1] === import.meta.filename) {
  const [, , target] = process.argv;
  if (target === undefined) throw new Error("the directory to make it in is missing");
  makeRoot(resolve(target));
  process.stdout.write(`${target}: ${readdirSync(target).join(", ")}\n`);
}
