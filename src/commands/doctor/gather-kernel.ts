/** What the running kernel is and has. */
import type { KernelFacts } from "./facts.ts";
import { type DoctorDeps, textOf } from "./gather.ts";

const asked = ["veth", "nf_tables", "overlay", "loop", "bridge"] as const;

export async function gatherKernel(deps: DoctorDeps): Promise<KernelFacts> {
  const release = (await textOf(deps, "/proc/sys/kernel/osrelease")).trim();
  const modules = `/lib/modules/${release}`;
  const [loaded, builtin, loadable, fileSystems, builtModules] = await Promise.all([
    textOf(deps, "/proc/modules"),
    textOf(deps, `${modules}/modules.builtin`),
    textOf(deps, `${modules}/modules.dep`),
    textOf(deps, "/proc/filesystems"),
    deps.files.list("/sys/module").catch(() => []),
  ]);
  const names = new Set([
    ...loaded.split("\n").map((line) => line.split(" ")[0] ?? ""),
    ...builtModules.map(({ name }) => name),
    ...`${builtin}\n${loadable}`.split("\n").map(moduleName),
    ...fileSystems.split("\n").map((line) => line.split("\t").at(-1) ?? ""),
  ]);
  const devices = await deps.files.list("/dev").catch(() => []);
  if (devices.some(({ name }) => name === "loop-control")) names.add("loop");
  // Without the list of what can be loaded, what is not seen may be built in all the same.
  const isComplete = builtin !== "";
  const features = Object.fromEntries(
    asked.map((name) => [name, names.has(name) ? "there" : isComplete ? "missing" : "unknown"] as const),
  );
  return {
    release,
    features,
    fileSystems: fileSystems.split("\n").flatMap((line) => (line.startsWith("\t") ? [line.trim()] : [])),
  };
}

/** `kernel/drivers/net/veth.ko.xz: ...` as `veth`. */
function moduleName(line: string): string {
  const path = line.split(":")[0] ?? "";
  return (path.split("/").at(-1) ?? "").replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}
