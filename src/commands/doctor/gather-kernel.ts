/** What the running kernel is and has. */
import { gunzipSync } from "node:zlib";
import type { KernelFacts } from "./facts.ts";
import { type DoctorDeps, textOf } from "./gather.ts";

/** By the module's name: the option that it is built by. */
const asked: Readonly<Record<string, string>> = {
  ...{ veth: "VETH", nf_tables: "NF_TABLES", nft_masq: "NFT_MASQ", nft_nat: "NFT_NAT" },
  ...{ overlay: "OVERLAY_FS", loop: "BLK_DEV_LOOP", bridge: "BRIDGE" },
  // A part of the module xfs, and a module of its own, without which ext4 has no quotas.
  ...{ xfs_quota: "XFS_QUOTA", quota_v2: "QFMT_V2" },
};

export async function gatherKernel(deps: DoctorDeps): Promise<KernelFacts> {
  const release = (await textOf(deps, "/proc/sys/kernel/osrelease")).trim();
  const modules = `/lib/modules/${release}`;
  const [loaded, builtin, loadable, fileSystems, options, listed, devices] = await Promise.all([
    textOf(deps, "/proc/modules"),
    textOf(deps, `${modules}/modules.builtin`),
    textOf(deps, `${modules}/modules.dep`),
    textOf(deps, "/proc/filesystems"),
    readOptions(deps, release),
    deps.files.list("/sys/module").catch(() => []),
    deps.files.list("/dev").catch(() => []),
  ]);
  const names = new Set([
    ...loaded.split("\n").map((line) => line.split(" ")[0] ?? ""),
    ...listed.map(({ name }) => name),
    ...`${builtin}\n${loadable}`.split("\n").map(moduleName),
    ...fileSystems.split("\n").map((line) => line.split("\t").at(-1) ?? ""),
  ]);
  if (devices.some(({ name }) => name === "loop-control")) names.add("loop");
  const known = { names, options, hasModuleTree: loadable !== "", isComplete: builtin !== "" };
  return {
    release,
    features: Object.fromEntries(Object.keys(asked).map((name) => [name, featureOf(name, known)])),
    fileSystems: fileSystems.split("\n").flatMap((line) => (line.startsWith("\t") ? [line.trim()] : [])),
  };
}

interface Known {
  readonly names: ReadonlySet<string>;
  readonly options: ReadonlyMap<string, string> | undefined;
  readonly hasModuleTree: boolean;
  /** Whether what is built in is listed too. */
  readonly isComplete: boolean;
}

function featureOf(name: string, { names, options, hasModuleTree, isComplete }: Known) {
  if (names.has(name)) return "there" as const;
  const option = options?.get(asked[name] ?? "");
  if (option === "y") return "there" as const;
  if (option === "m") return hasModuleTree ? ("missing" as const) : ("unknown" as const);
  if (options) return "missing" as const;
  // What is no module of its own is in no list of them.
  return isComplete && name !== "xfs_quota" ? ("missing" as const) : ("unknown" as const);
}

/** What the kernel was built with, `y` or `m` by option; undefined where it does not say. */
async function readOptions(deps: DoctorDeps, release: string): Promise<Map<string, string> | undefined> {
  const packed = await deps.files.read("/proc/config.gz").catch(() => undefined);
  const texts = packed ? [gunzipSync(packed).toString("utf8")] : [];
  for (const path of [`/boot/config-${release}`, `/lib/modules/${release}/config`]) {
    if (texts.length === 0) texts.push(...[await textOf(deps, path)].filter(Boolean));
  }
  const [text] = texts;
  if (text === undefined) return undefined;
  return new Map(
    [...text.matchAll(/^CONFIG_(\w+)=([ym])$/gm)].map(
      ([, option = "", value = ""]) => [option, value] as const,
    ),
  );
}

/** `kernel/drivers/net/veth.ko.xz: ...` as `veth`. */
function moduleName(line: string): string {
  const path = line.split(":")[0] ?? "";
  return (path.split("/").at(-1) ?? "").replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}
