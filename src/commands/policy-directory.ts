/**
 * The policy files of a directory, and the engine that they are in force in: read at the start, and again whenever the
 * directory changes or somebody asks. All or nothing: where one file is bad, the last good set stays, and says so loudly.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { PodIndex } from "../cri/pods/pod-index.ts";
import { createPolicyEngine, type PolicyEngine } from "../cri/policy/engine.ts";
import { lintPolicies } from "../cri/policy/lint.ts";
import { checkPolicies, loadPolicies, type PolicySource, policiesError } from "../cri/policy/load.ts";
import type { RuntimePolicy } from "../cri/policy/policy.ts";
import { problemText } from "../cri/policy/problem.ts";
import type { Exemptions } from "../cri/policy/select.ts";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "../host/errno.ts";
import type { Log } from "../observe/log.ts";
import { readPolicyCache, writePolicyCache } from "./policy-cache.ts";
import { readPolicyFile, stampOf } from "./policy-file.ts";
import { watchDirectory } from "./policy-watch.ts";

/** What the policy files of a directory are called; hidden ones are left alone, and so are the tests beside them. */
export const policyFileName: RegExp = /^[^.].*(?<!\.test)\.ya?ml$/;

/** Somebody who changes files all the time gets what is read last. */
const MAX_READS = 3;

/**
 * The files in the order of their names, as they were at one time: a set that is half of before and half of after a change
 * was never meant. An unreadable directory or file is an error of kind `invalid`.
 */
export async function readPolicySources(directory: string): Promise<PolicySource[]> {
  for (let reads = 1; ; reads += 1) {
    const { sources, stamps } = await readOnce(directory);
    const now = await Promise.all(sources.map(({ file }) => stampOf(join(directory, file))));
    if (reads === MAX_READS || stamps.every((stamp, index) => stamp === now[index])) return sources;
  }
}

async function readOnce(
  directory: string,
): Promise<{ readonly sources: PolicySource[]; readonly stamps: string[] }> {
  const problems: string[] = [];
  const note = (error: unknown, path: string) => {
    problems.push(fromNodeError(error, "policy.read", path).message);
  };
  const names = await readdir(directory).catch((error: unknown) => {
    note(error, directory);
    return [];
  });
  const sources: PolicySource[] = [];
  const stamps: string[] = [];
  for (const file of names.filter((name) => policyFileName.test(name)).sort()) {
    const path = join(directory, file);
    const read = await readPolicyFile(path).catch((error: unknown) => note(error, path));
    if (!read) continue;
    sources.push({ file, text: read.text });
    stamps.push(read.stamp);
  }
  if (problems.length === 0) return { sources, stamps };
  throw new TrivetError({
    kind: "invalid",
    op: "policy.read",
    subject: directory,
    message: `the policies cannot be read:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  });
}

/** All or nothing: an unreadable directory or one bad file is an error of kind `invalid` with every problem. */
export async function readPolicyDirectory(directory: string): Promise<RuntimePolicy[]> {
  return loadPolicies(await readPolicySources(directory));
}

/** How a reload went. Where it failed, the policies are those of before. */
export interface ReloadResult {
  readonly ok: boolean;
  /** The names of the policies in force. */
  readonly policies: readonly string[];
  /** Every problem of every file, where it failed. */
  readonly error?: string;
}

export interface PolicyDirectory {
  readonly engine: PolicyEngine;
  /** Reads the directory again, one after another. Never rejects. */
  reload(): Promise<ReloadResult>;
  /** Why the policies in force are not those of the directory; undefined where they are. */
  problem(): string | undefined;
  close(): void;
}

export interface PolicyDirectoryOptions {
  readonly directory: string;
  /** Where the last good set is kept for a start with a bad one; without it such a start is refused. */
  readonly cacheFile?: string | undefined;
  readonly pods?: Pick<PodIndex, "sandbox" | "container" | "lookup">;
  readonly exempt?: Exemptions;
  readonly log: Log;
  /** Told of each reload that found something new, and of a start from the cache as a failed one. */
  readonly onReload?: (result: "ok" | "failed") => void;
}

/** Policies are compared with one another: beyond this number that takes longer than a reload may. */
const MAX_LINTED = 200;
/** Of the warnings. */
const MAX_SHOWN = 20;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Reads the policies and keeps them as the directory is. Throws `invalid` where they are bad and none are kept. */
export async function openPolicyDirectory(options: PolicyDirectoryOptions): Promise<PolicyDirectory> {
  const opened = new OpenDirectory(options);
  await opened.start();
  return opened;
}

class OpenDirectory implements PolicyDirectory {
  readonly engine: PolicyEngine;
  readonly #options: PolicyDirectoryOptions;
  /** What was read last, good or bad: the same again is not worth a word. */
  #seen: string | undefined;
  #problem: string | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #watch: { close(): void } | undefined;

  constructor(options: PolicyDirectoryOptions) {
    this.#options = options;
    const { pods, exempt } = options;
    this.engine = createPolicyEngine({ policies: [], ...(pods && { pods }), ...(exempt && { exempt }) });
  }

  async start(): Promise<void> {
    const { directory, cacheFile, log } = this.#options;
    try {
      await this.#load();
    } catch (error) {
      const kept = cacheFile === undefined ? undefined : await readPolicyCache(cacheFile, directory);
      if (!kept) throw error;
      this.engine.replace(loadPolicies(kept));
      this.#failed(error, "starting with the last policies that were good");
    }
    this.#watch = watchDirectory({
      directory,
      wanted: policyFileName,
      onChange: () => void this.reload(),
      onError: (error) =>
        log.warn("policies: changes are found by looking from time to time", { error: messageOf(error) }),
    });
  }

  /** Throws where anything is wrong, and then nothing is changed. */
  async #load(): Promise<void> {
    const { directory, cacheFile, log } = this.#options;
    const sources = await readPolicySources(directory);
    const { policies, problems } = checkPolicies(sources);
    if (problems.length > 0) throw policiesError(problems);
    this.engine.replace(policies.map(({ policy }) => policy));
    // A refusal that can never be is an open door: who did not ask `policy check` is told here.
    if (policies.length <= MAX_LINTED) this.#warn(lintPolicies(policies).map(problemText));
    this.#seen = JSON.stringify(sources);
    this.#problem = undefined;
    if (cacheFile === undefined) return;
    await writePolicyCache(cacheFile, { directory, sources }).catch((error: unknown) =>
      log.warn("policies: the good set cannot be kept for the next start", { error: messageOf(error) }),
    );
  }

  #warn(warnings: readonly string[]): void {
    if (warnings.length === 0) return;
    const [shown, more] = [warnings.slice(0, MAX_SHOWN), warnings.length - MAX_SHOWN];
    this.#options.log.warn("policies: some say what is probably not meant", {
      warnings: [...shown, ...(more > 0 ? [`and ${more} more: see trivet cri policy check`] : [])],
    });
  }

  reload(): Promise<ReloadResult> {
    const result = this.#turn.then(() => this.#reload());
    this.#turn = result;
    return result;
  }

  async #reload(): Promise<ReloadResult> {
    const { directory, log, onReload } = this.#options;
    try {
      const sources = await readPolicySources(directory).then(JSON.stringify, () => undefined);
      if (sources !== undefined && sources === this.#seen && this.#problem === undefined)
        return this.#result();
      await this.#load();
      log.info("policies reloaded", { policies: this.#names() });
      onReload?.("ok");
    } catch (error) {
      this.#failed(error, "the last good policies stay in force");
    }
    return this.#result();
  }

  #failed(error: unknown, what: string): void {
    const message = messageOf(error);
    if (message !== this.#problem) {
      this.#options.log.error(`policies: ${what}`, { error: message, policies: this.#names() });
    }
    this.#problem = message;
    this.#options.onReload?.("failed");
  }

  #names(): string[] {
    return this.engine.policies.map(({ name }) => name);
  }

  #result(): ReloadResult {
    const error = this.#problem;
    return { ok: error === undefined, policies: this.#names(), ...(error !== undefined && { error }) };
  }

  problem(): string | undefined {
    return this.#problem;
  }

  close(): void {
    this.#watch?.close();
  }
}
