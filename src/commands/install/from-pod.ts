/**
 * `trivet install --from-pod`: the runtime is copied onto the node through the root of a process that sees it, and the rest is done by
 * that copy, in the node's own namespaces, as if an administrator had typed it there: the same links, service manager and programs.
 */
import { spawn } from "node:child_process";
import { readlink } from "node:fs/promises";
import { join } from "node:path";
import { TrivetError } from "../../errors.ts";
import { findHostProcess } from "../../host/host-process.ts";
import { readRelease } from "../../install/release.ts";
import { placeRelease, runtimeRoot } from "../../install/runtime.ts";
import { searchPath } from "../search-path.ts";
import { progress, withSystem } from "./context.ts";
import type { InstallFlags } from "./node.ts";

/** Ends with the exit code of the installer on the node. */
export async function copyFromPod(flags: InstallFlags, bundle: string): Promise<void> {
  const hostPid = flags.hostPid ?? (await findHostProcess()) ?? "1";
  if (!/^[1-9]\d*$/.test(hostPid)) {
    const message = `--host-pid is "${hostPid}": it must be the number of a process`;
    throw new TrivetError({ kind: "invalid", op: "install.options", subject: "--host-pid", message });
  }
  if ((await mountNamespace(hostPid)) === (await mountNamespace("self"))) {
    const message = `process ${hostPid} sees the same files as this one: the pod needs "hostPID: true", or leave --from-pod out`;
    throw new TrivetError({ kind: "precondition", op: "install.from-pod", subject: hostPid, message });
  }
  const root = `/proc/${hostPid}/root`;
  progress(`copying the runtime onto the node, to ${runtimeRoot}`);
  const name = await withSystem({ ...flags, root, serviceManager: "none" }, async (node) => {
    const release = await readRelease({ files: node.ownFiles, bundle, node: process.execPath });
    return (await placeRelease(node, { source: node.ownFiles, release, dryRun: flags.dryRun })).name;
  });
  const program = join(runtimeRoot, name, "bin/trivet");
  const rest = argumentsWithout(process.argv.slice(2), ["--from-pod", "--host-pid", "--bundle"]);
  process.exitCode = await run([
    "nsenter",
    "-t",
    hostPid,
    "-m",
    "-u",
    "-i",
    "-n",
    "-C",
    "--",
    program,
    ...rest,
  ]);
}

async function mountNamespace(pid: string): Promise<string> {
  return readlink(`/proc/${pid}/ns/mnt`).catch((error: Error) => {
    const message = `process ${pid} cannot be looked at: ${error.message}; the pod must be privileged and have "hostPID: true"`;
    throw new TrivetError({
      kind: "precondition",
      op: "install.from-pod",
      subject: pid,
      message,
      cause: error,
    });
  });
}

/** `--from-pod` has no value, the others have. */
function argumentsWithout(argv: readonly string[], names: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] ?? "";
    const name = word.split("=", 1)[0] ?? "";
    if (!names.includes(name)) kept.push(word);
    else if (name === word && name !== "--from-pod") at += 1;
  }
  return kept;
}

/** Its output is ours, as it comes. */
function run([program, ...args]: readonly [string, ...string[]]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, PATH: searchPath() } });
    child.once("error", (error) => {
      const message = `${program} cannot be run: ${error.message}; the image must have it`;
      reject(new TrivetError({ kind: "precondition", op: "install.from-pod", subject: program, message }));
    });
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
