/**
 * Builds `dist/trivet/`: one JavaScript file, the native addon and the protos beside it, a start script, and the static CNI
 * client where `make cni` has built it. It runs on Node.js 24 or newer without `node_modules`; type stripping does not work
 * below that folder.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";
import { version } from "../src/version.ts";

const root = join(import.meta.dirname, "..");
const target = join(root, "dist", "trivet");
const addon = join(
  root,
  "node_modules/@koromix",
  `koffi-linux-${process.arch}`,
  `linux_${process.arch}/koffi.node`,
);

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

// The heavy half is imported by a small entry, so that Node's compile cache covers it.
const entry = `import { enableCompileCache } from "node:module";
enableCompileCache();
await import("./trivet.js");
`;

const start = `#!/bin/sh
# Starts the bundle with the Node.js of the system, which must be 24 or newer.
directory=$(dirname -- "$(readlink -f -- "$0")")
if [ $# -eq 0 ] && [ -n "\${CNI_COMMAND:-}" ]; then set -- cni; fi
flags=
case \${1:-} in # as in bin/trivet, which says why
  cri) flags=--max-semi-space-size=1 ;;
  node) flags='--max-semi-space-size=1 --no-maglev --v8-pool-size=1 --heap-growing-percent=20' ;;
esac
exec "\${TRIVET_NODE:-node}" $flags "$directory/main.js" "$@"
`;

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile: join(target, "trivet.js"),
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  legalComments: "linked",
  banner: { js: banner },
  plugins: [replace],
  logLevel: "warning",
});
copyFileSync(addon, join(target, "koffi.node"));
cpSync(join(root, "proto"), join(target, "proto"), { recursive: true });
const clients = join(root, "dist", "cni");
const withClient = existsSync(join(clients, "trivet"));
if (withClient) cpSync(clients, join(target, "cni"), { recursive: true });
copyFileSync(join(root, "LICENSE"), join(target, "LICENSE"));
writeFileSync(
  join(target, "package.json"),
  `${JSON.stringify({ name: "trivet", version, type: "module" })}\n`,
);
writeFileSync(join(target, "main.js"), entry);
writeFileSync(join(target, "trivet"), start);
chmodSync(join(target, "trivet"), 0o755);
const kib = Math.round(statSync(join(target, "trivet.js")).size / 1024);
const client = withClient
  ? "with the static CNI client"
  : "without the static CNI client, which 'make cni' builds";
process.stdout.write(
  `dist/trivet: trivet.js ${kib} KiB, for ${process.platform}/${process.arch}, ${client}; start it with dist/trivet/trivet\n`,
);
