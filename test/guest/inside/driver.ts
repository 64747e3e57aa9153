/** `trivet node` on pools with project quotas: the whole life of a volume, and the rules of CSI, over its socket. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createFiles } from "../../../src/host/files.ts";
import { allRules } from "../../conformance/csi/rules/all.ts";
import { runRules } from "../../conformance/csi/run.ts";
import { connect } from "../../conformance/csi/world.ts";
import { writeAsNobody } from "../../e2e/support/writer.ts";
import { mountDisk, syscalls, unmountDisk } from "./disks.ts";
import { kubeletRoot, type NodeProcess, startNode } from "./node-process.ts";
import { type GuestCase, NotApplicableHere, runCases } from "./run-cases.ts";

const MIB = 1_048_576;
const capability = { mount: {}, access_mode: { mode: "SINGLE_NODE_WRITER" } };

/** From create to delete, with a writer that is stopped, a growth, and statistics. */
function lifeOf(node: NodeProcess, pool: "xfs" | "ext4", errno: number): GuestCase {
  return {
    title: `a volume of pool ${pool} lives from create to delete, and its writer is stopped at its size`,
    async run() {
      const call = node.client.call;
      const { volume } = await call<{ volume: { volume_id: string } }>("Controller", "CreateVolume", {
        ...{ name: `life-${pool}`, volume_capabilities: [capability], parameters: { pool } },
        capacity_range: { required_bytes: 16 * MIB },
      });
      const { volume_id } = volume;
      const [staging, pod] = [`${kubeletRoot}/staging/${pool}`, `${kubeletRoot}/pods/${pool}`];
      for (const path of [staging, pod]) mkdirSync(path, { recursive: true });
      const target = `${pod}/mount`;
      const at = { volume_id, staging_target_path: staging, volume_capability: capability };
      await call("Node", "NodeStageVolume", at);
      await call("Node", "NodePublishVolume", { ...at, target_path: target });
      const files = createFiles(syscalls);
      assert.equal((await files.space(target)).totalBytes, 16 * MIB);
      assert.equal((await writeAsNobody(`${target}/file`, 64 * MIB)).errno, errno);
      await call("Node", "NodeExpandVolume", {
        ...{ volume_id, volume_path: target, staging_target_path: staging, volume_capability: capability },
        capacity_range: { required_bytes: 24 * MIB },
      });
      assert.equal((await files.space(target)).totalBytes, 24 * MIB);
      const more = await writeAsNobody(`${target}/file`, 64 * MIB);
      assert.deepEqual([more.errno, more.bytes > 7 * MIB && more.bytes <= 8 * MIB], [errno, true]);
      const stats = await call<{
        usage: { unit: string; total: string; used: string }[];
        volume_condition: { abnormal: boolean; message: string };
      }>("Node", "NodeGetVolumeStats", { volume_id, volume_path: target });
      const bytes = stats.usage.find(({ unit }) => unit === "BYTES");
      assert.equal(Number(bytes?.total), 24 * MIB);
      assert.ok(Number(bytes?.used) > 23 * MIB, bytes?.used);
      assert.match(stats.volume_condition.message, /nearly full/);
      await call("Node", "NodeUnpublishVolume", { volume_id, target_path: target });
      await call("Node", "NodeUnstageVolume", { volume_id, staging_target_path: staging });
      await call("Controller", "DeleteVolume", { volume_id });
      const { entries } = await call<{ entries: unknown[] }>("Controller", "ListVolumes");
      assert.deepEqual(entries, []);
    },
  };
}

/** Every rule of the suite, each as a case. */
async function runConformance(node: NodeProcess, pool: string): Promise<void> {
  const options = {
    ...{ socket: node.socket, access: "mount" as const, sizeBytes: 8 * MIB, parameters: { pool } },
    ...{ stagingDir: `${kubeletRoot}/conformance/staging`, targetDir: `${kubeletRoot}/conformance/pods` },
    deadlineMs: 60_000,
  };
  for (const path of [options.stagingDir, options.targetDir]) mkdirSync(path, { recursive: true });
  const connection = await connect(options.socket, options.deadlineMs);
  for (const rule of allRules) {
    const title = `pool ${pool}: ${rule.title}`;
    const run = async () => {
      const [verdict] = await runRules(connection, options, { rules: [rule] });
      if (verdict?.result === "not applicable") throw new NotApplicableHere(verdict.reason ?? "");
      assert.equal(verdict?.result, "kept", verdict?.reason);
    };
    await runCases("rules of CSI", [{ title, run }]);
  }
}

/** Starts the process once, for everything. */
export async function runDriver(): Promise<void> {
  for (const name of ["xfs", "ext4"] as const)
    mkdirSync(`${await mountDisk(name)}/pool`, { recursive: true });
  const pools = (["xfs", "ext4"] as const).map((name) => `${name}=/mnt/${name}/pool,backend=quota`);
  const node = await startNode(pools, "/run/state");
  await runCases("trivet node", [lifeOf(node, "xfs", 28), lifeOf(node, "ext4", 122)]);
  await runConformance(node, "xfs");
  await runCases("trivet node", [
    {
      title: "ends in order",
      async run() {
        assert.equal(await node.stop(), 0, node.log().slice(-2_000));
      },
    },
  ]);
  for (const name of ["xfs", "ext4"] as const) await unmountDisk(name);
}
