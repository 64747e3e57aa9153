/** The settings of the proxy, as far as a verb below `trivet cri` needs them: by flags of its own, or from the same file. */
import type { Command } from "commander";
import { type CriConfig, criFileSchema } from "../../config/cri.ts";
import { readSettings, type Setting } from "../settings.ts";

export interface ProxySettings {
  /** Adds the flags to a verb. */
  add(command: Command): Command;
  /** As given to that verb. Throws with every problem. */
  read(command: Command): Promise<CriConfig>;
}

/** `--config` and, of all settings of the proxy, those with these paths. */
export function proxySettings(all: readonly Setting[], ...paths: readonly string[]): ProxySettings {
  const chosen = all.filter(({ path }) => paths.includes(path));
  return {
    add(command) {
      for (const { flag, help } of chosen) command.option(flag, `of the proxy: ${help}`);
      return command.option("--config <file>", "YAML file with the settings of the proxy");
    },
    read: async (command) => (await readSettings(command, chosen, criFileSchema)).cri,
  };
}
