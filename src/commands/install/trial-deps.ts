/** The real effects for trying a network: programs, files and a scratch namespace. */
import { randomBytes } from "node:crypto";
import { access, constants } from "node:fs/promises";
import type { TrialDeps } from "../../cni/install/self-test.ts";
import { createExec } from "../../host/exec.ts";
import { createFiles } from "../../host/files.ts";
import { makeScratchNetns } from "../../host/scratch-netns.ts";
import { createSyscalls } from "../../host/syscall.ts";
import { searchPath } from "../search-path.ts";

export async function createTrialDeps() {
  const syscalls = createSyscalls();
  const exec = createExec(searchPath(), syscalls);
  const nonce = () => randomBytes(4).toString("hex");
  const trial: TrialDeps = {
    exec,
    nonce,
    isProgram: (path) =>
      access(path, constants.X_OK).then(
        () => true,
        () => false,
      ),
    makeNamespace: () => makeScratchNetns(exec, `trivet-test-${nonce()}`),
  };
  return { files: createFiles(syscalls), exec, trial };
}
