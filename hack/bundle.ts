/**
 * Builds `dist/trivet/`: the program as one entry and a part for each verb, so that the proxy never reads what the others
 * need, the native addon and the protos beside them, a start script, and the static CNI clients that `make cni` has built.
 * It runs on Node.js 24 or newer without `node_modules`, where type stripping would not work. It writes nothing when it runs.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import { version } from "../src/version.ts";

const root = join(import.meta.dirname, "..");
const target = join(root, "dist", "trivet");
// Built aside: somebody may be running what is there.
const staged = join(root, "dist", `.trivet.${process.pid}`);
const addon = join(
  root,
  "node_modules/@koromix",
  `koffi-linux-${process.arch}`,
  `linux_${process.arch}/koffi.node`,
);

/** Carried as they are, at the same place as in the repository: `packageRoot` finds them in both. */
const carried = ["LICENSE", "proto", "daemonset/host", "daemonset/policies", "daemonset/systemd"];

// esbuild's modules have no `require`, which the CommonJS packages inside the bundle call.
const banner = `import { createRequire as __createRequire } from "node:module";
import { fileURLToPath as __fileURLToPath } from "node:url";
const require = __createRequire(import.meta.url);
const __filename = __fileURLToPath(import.meta.url);
const __dirname = import.meta.dirname;`;

/** Modules that look different in a bundle: koffi finds its addon beside it, and the demo stays in the checkout. */
const replaced: Readonly<Record<string, string>> = {
  koffi: 'module.exports = require("./koffi.node");',
  "./commands/demo.ts": `import { TrivetError } from ${JSON.stringify(join(root, "src/errors.ts"))};
    const message = "the demo runs from a checkout of the repository: type 'make demo' there";
    export function define(command) {
      command.allowUnknownOption().action(() => {
        throw new TrivetError({ kind: "unsupported", op: "demo", subject: "bundle", message });
      });
    }`,
};

const replace: Plugin = {
  name: "replace",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^koffi$|^\.\/commands\/demo\.ts$/ }, ({ path }) => ({
      path,
      namespace: "replaced",
    }));
    onResolve({ filter: /koffi\.node$/ }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /.*/, namespace: "replaced" }, ({ path }) => ({
      contents: replaced[path] ?? "",
      resolveDir: root,
    }));
  },
};

// An older Node.js could not even parse the rest.
const entry = `if (Number(process.versions.node.split(".")[0]) >= 24) {
  await import("./lib/main.js");
} else {
  console.error(\`trivet: needs Node.js 24 or newer, and this is \${process.versions.node}: name a newer one with TRIVET_NODE\`);
  process.exitCode = 3;
}
`;

/** What the checkout's start script gives to Node.js, verb by verb. */
function verbFlags(): string {
  const [block] = /^flags=\n.*?^esac$/ms.exec(readFileSync(join(root, "bin/trivet"), "utf8")) ?? [];
  if (block === undefined) throw new Error("bin/trivet has no flags for each verb any more");
  return block;
}

const start = () => `#!/bin/sh
# Starts the bundle with the Node.js beside this script, if one was put there, or else that of the system, which must be
# 24 or newer. As a CNI plugin (CNI_COMMAND set, no arguments) it is the verb \`cni\`, whatever name it is called by.
set -eu
self=$(readlink -f -- "$0")
bin=\${self%/*}
node=$bin/node
[ -x "$node" ] || node=node
if [ $# -eq 0 ] && [ -n "\${CNI_COMMAND:-}" ]; then set -- cni; fi
${verbFlags()}
# shellcheck disable=SC2086 # several words on purpose
exec "\${TRIVET_NODE:-$node}" $flags "\${bin%/*}/main.js" "$@"
`;

/** The licences of the packages whose code is in these inputs, and of the addon. */
function thirdParty(inputs: readonly string[]): string {
  const packages = new Set(["koffi"]);
  for (const path of inputs) {
    const [, name] = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
    if (name !== undefined) packages.add(name);
  }
  const texts = [...packages].sort().map((name) => {
    const folder = join(root, "node_modules", name);
    const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Record<string, string>;
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : `\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
    return `${name} ${about.version}, ${about.license}\n${text}`;
  });
  return texts.join(`\n${"-".repeat(100)}\n\n`);
}

function writeProgram(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

rmSync(staged, { recursive: true, force: true });
mkdirSync(join(staged, "bin"), { recursive: true });
const { metafile } = await build({
  entryPoints: [join(root, "src/main.ts")],
  outdir: join(staged, "lib"),
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  chunkNames: "[name]-[hash]",
  metafile: true,
  platform: "node",
  target: "node24",
  format: "esm",
  legalComments: "none",
  banner: { js: banner },
  plugins: [replace],
  logLevel: "warning",
});
copyFileSync(addon, join(staged, "lib", "koffi.node"));
for (const path of carried) {
  if (existsSync(join(root, path))) cpSync(join(root, path), join(staged, path), { recursive: true });
}
const clients = join(root, "dist", "cni");
const built = existsSync(clients)
  ? readdirSync(clients).filter((name) => /^trivet(-(amd64|arm64))?$/.test(name))
  : [];
for (const name of built.sort()) cpSync(join(clients, name), join(staged, "cni", name));
writeFileSync(join(staged, "THIRD-PARTY.txt"), thirdParty(Object.keys(metafile.inputs)));
writeFileSync(
  join(staged, "package.json"),
  `${JSON.stringify({ name: "trivet", version, type: "module" })}\n`,
);
writeFileSync(join(staged, "main.js"), entry);
writeProgram(join(staged, "bin", "trivet"), start());
rmSync(target, { recursive: true, force: true });
renameSync(staged, target);

const parts = readdirSync(join(target, "lib"));
const kib = parts.reduce((sum, name) => sum + statSync(join(target, "lib", name)).size, 0) / 1024;
const client =
  built.length > 0
    ? `with the CNI clients ${built.join(", ")}`
    : "without the static CNI client, which 'make cni' builds";
process.stdout.write(
  `dist/trivet: ${Math.round(kib)} KiB in ${parts.length} files, for ${process.platform}/${process.arch}, ${client}; start it with dist/trivet/bin/trivet\n`,
);
