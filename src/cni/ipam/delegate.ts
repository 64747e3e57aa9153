/**
 * Runs another IPAM plugin (SPEC.md, "Delegated plugins"): found by its type in CNI_PATH, with the environment of the call and the
 * whole configuration on stdin. Knows the protocol only; what the answers mean is `foreign.ts`.
 */
import { join } from "node:path";
import { isKind, type Kind, TrivetError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { CniDeps } from "../deps.ts";
import { limitsMs } from "../protocol/defaults.ts";
import { type Command, type Environment, shorten } from "../protocol/environment.ts";
import { isObject, type JsonObject } from "../protocol/problems.ts";
import { supportedVersions } from "../protocol/versions.ts";
import { nullIfAbsent } from "../state/guard.ts";

/** One run of a plugin. */
export interface DelegateCall {
  readonly command: Command;
  readonly type: string;
  /** CNI_* of the call; CNI_COMMAND is set here. */
  readonly env: Environment;
  readonly config: JsonObject;
  readonly signal?: AbortSignal | undefined;
  readonly log?: Log | undefined;
}

type Effects = Pick<CniDeps, "files" | "exec">;
const MAX_STDERR = 2_000;

/**
 * Runs it. A plugin that is older than the configuration is asked which versions it speaks, and run once more with the newest of
 * them. Gives its result, an empty object where it has none. Throws what it said, with the kind that its code stands for.
 */
export async function runDelegate(deps: Effects, call: DelegateCall): Promise<JsonObject> {
  try {
    return await runOnce(deps, call);
  } catch (error) {
    if (!isKind(error, "version")) throw error;
    const cniVersion = await newestCommon(deps, call);
    if (cniVersion === undefined || cniVersion === call.config.cniVersion) throw error;
    return runOnce(deps, { ...call, config: { ...call.config, cniVersion } });
  }
}

async function newestCommon(deps: Effects, call: DelegateCall): Promise<string | undefined> {
  const { cniVersion } = call.config;
  const answer = await runOnce(deps, { ...call, command: "VERSION", config: { cniVersion } });
  const theirs: unknown = answer.supportedVersions;
  const spoken = Array.isArray(theirs) ? theirs : [];
  return [...supportedVersions].reverse().find((version) => spoken.includes(version));
}

async function runOnce({ files, exec }: Effects, call: DelegateCall): Promise<JsonObject> {
  const { command, type, config, signal, log } = call;
  if (!exec) throw failure(type, "unsupported", `ipam.type is "${type}", and nothing here runs plugins`);
  const program = await findPlugin(files, call);
  const kept = Object.entries(call.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && entry[0].startsWith("CNI_"),
  );
  const { exitCode, stdout, stderr } = await exec([program], {
    env: { ...Object.fromEntries(kept), CNI_COMMAND: command },
    stdin: JSON.stringify(config),
    timeoutMs: command === "VERSION" ? limitsMs.STATUS : limitsMs[command],
    ...(signal ? { signal } : {}),
  });
  if (stderr.trim() !== "") log?.info("ipam plugin said", { type, stderr: stderr.slice(0, MAX_STDERR) });
  const answer = parseAnswer(stdout);
  if (exitCode !== 0) throw refusal(type, answer, stderr || stdout);
  if (answer) return answer;
  if (stdout.trim() === "" && command !== "ADD") return {};
  throw failure(type, "decode", `IPAM plugin ${type} answered ${command} with no JSON object`);
}

async function findPlugin(files: Effects["files"], { type, env }: DelegateCall): Promise<string> {
  const path = env.CNI_PATH ?? "";
  for (const directory of path.split(":")) {
    if (!directory.startsWith("/")) continue;
    const found = await nullIfAbsent(files.stat(join(directory, type)));
    if (found?.kind === "file" || found?.kind === "symlink") return join(directory, type);
  }
  const where = path === "" ? "CNI_PATH is not set" : `there is none in CNI_PATH (${shorten(path)})`;
  const message = `ipam.type is "${type}", but ${where}: install the plugin there`;
  throw new TrivetError({ kind: "invalid", op: findOp, subject: type, message });
}

const findOp = "ipam.find";

/** Whether the plugin did not even begin, since there is none. */
export function wasNotFound(error: unknown): boolean {
  return isKind(error, "invalid") && error.op === findOp;
}

function parseAnswer(stdout: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(stdout);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const kindOfCode: Readonly<Record<number, Kind>> = {
  1: "version",
  2: "unsupported",
  4: "environment",
  5: "io",
  6: "decode",
  7: "invalid",
  11: "unavailable",
  50: "unavailable",
  51: "unavailable",
};

function refusal(type: string, answer: JsonObject | undefined, said: string): TrivetError {
  const { code, msg, details } = answer ?? {};
  const kind = (typeof code === "number" && kindOfCode[code]) || "precondition";
  const more = typeof details === "string" && details !== "" ? ` (${details})` : "";
  const text = typeof msg === "string" ? `${msg}${more}` : said.trim().slice(0, MAX_STDERR);
  return failure(
    type,
    kind,
    `IPAM plugin ${type} failed: ${text}${code === undefined ? "" : `, code ${code}`}`,
  );
}

function failure(type: string, kind: Kind, message: string): TrivetError {
  return new TrivetError({ kind, op: "ipam.delegate", subject: type, message });
}
