/**
 * The kubelet of a `WholeNode`: the process that asks its runtime all day long, and beside that watches for plugins. Who is registered is
 * in /run/kubelet-plugins.json, by name.
 */
import { writeFileSync } from "node:fs";
import { watchPlugins } from "../../fakes/kubelet/plugin-watcher.ts";
import "../../fakes/kubelet/kubelet-process.ts";

const write = (names: readonly string[]) => writeFileSync("/run/kubelet-plugins.json", JSON.stringify(names));
const watcher = await watchPlugins({
  directory: "/var/lib/kubelet/plugins_registry",
  onChange: () => write([...watcher.plugins.keys()]),
});
