/** The contract of project quotas, on real XFS and ext4. */
import { symlink } from "node:fs/promises";
import { createFiles } from "../../../src/host/files.ts";
import { createProjectQuota } from "../../../src/host/quota.ts";
import { quotaContract } from "../../contract/quota.ts";
import { freshDirectory, mountDisk, syscalls, unmountDisk } from "./disks.ts";
import { runCases } from "./run-cases.ts";

/** Runs all cases on both. */
export async function runQuotaContract(): Promise<void> {
  let id = 5_000;
  const quota = createProjectQuota(syscalls);
  const files = createFiles(syscalls);
  for (const name of ["xfs", "ext4"] as const) {
    const disk = await mountDisk(name);
    await runCases(
      `contract on ${name}`,
      quotaContract.map(({ title, run }) => ({
        title,
        run: async () => run({ quota, files, symlink, id: ++id, root: await freshDirectory(disk) }),
      })),
    );
    await unmountDisk(name);
  }
}
