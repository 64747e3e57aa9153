/** Turns a table of settings into flags with help, and what the user gave into the sources of the configuration. */
import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import type * as v from "valibot";
import { stringify } from "yaml";
import { type ConfigSources, loadConfig } from "../config/load.ts";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "../host/errno.ts";
import { print } from "./print.ts";

export interface Setting {
  /** Its place in the file, such as `cri.listen`. */
  readonly path: string;
  /** As commander writes it: `--listen <address>`, `--no-csi`. */
  readonly flag: string;
  readonly help: string;
  readonly env?: string;
  /** May be given several times; the file then holds a list. */
  readonly list?: boolean;
  /** What holds without it, for the help. */
  readonly default?: string;
}

const logLevelSetting: Setting = {
  path: "logLevel",
  flag: "--log-level <level>",
  help: "debug, info, warn or error",
  default: "info",
};

function describe({ help, env, default: value }: Setting): string {
  const notes = [env && `environment: ${env}`, value && `default: ${value}`].filter(Boolean);
  return notes.length > 0 ? `${help} (${notes.join("; ")})` : help;
}

/** Adds the flags of these settings, `--config`, `--print-config` and `--log-level`. */
export function addSettings(command: Command, settings: readonly Setting[]): void {
  for (const setting of [...settings, logLevelSetting]) {
    const option = new Option(setting.flag, describe(setting));
    if (setting.list)
      option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
    command.addOption(option);
  }
  command.option("--config <file>", "YAML file with the settings; flags and environment go over it");
  command.option("--print-config", "show the settings in force, as a file for --config, and exit");
}

function overridesOf(
  command: Command,
  settings: readonly Setting[],
  env: NodeJS.ProcessEnv,
): ConfigSources["overrides"] {
  const found: { path: string; from: string; value: unknown }[] = [];
  for (const { path, env: name } of settings) {
    const value = name ? env[name] : undefined;
    if (name && value) found.push({ path, from: `environment variable ${name}`, value });
  }
  for (const { path, flag } of settings) {
    const option = new Option(flag);
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== "cli") continue;
    found.push({ path, from: option.long ?? flag, value: command.getOptionValue(name) });
  }
  return found;
}

async function fileOf(command: Command): Promise<ConfigSources["file"]> {
  const path: unknown = command.getOptionValue("config");
  if (typeof path !== "string") return undefined;
  try {
    return { path, text: await readFile(path, "utf8") };
  } catch (error) {
    const reason = fromNodeError(error, "config.read", path).message;
    throw new TrivetError({
      kind: "invalid",
      op: "config.read",
      subject: path,
      message: `--config: ${reason}`,
      cause: error,
    });
  }
}

/** The configuration that a command was started with. Throws with every problem; see `loadConfig`. */
export async function readSettings<Schema extends v.GenericSchema>(
  command: Command,
  settings: readonly Setting[],
  schema: Schema,
): Promise<v.InferOutput<Schema>> {
  const file = await fileOf(command);
  const overrides = overridesOf(command, [...settings, logLevelSetting], process.env);
  return loadConfig(schema, { ...(file && { file }), overrides });
}

/** Writes the settings in force to stdout if `--print-config` was given; true if so. */
export function printSettings(command: Command, effective: Readonly<Record<string, unknown>>): boolean {
  if (command.getOptionValue("printConfig") !== true) return false;
  print(stringify(effective));
  return true;
}
