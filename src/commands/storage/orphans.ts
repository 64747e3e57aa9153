/** `trivet storage orphans`: compares the disk with the PersistentVolumes and the mount table; removes when told to. */
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import type { NodeConfig } from "../../config/node.ts";
import type { PersistentVolumeFacts } from "../../csi/inventory/facts.ts";
import { driverName, topologyKey } from "../../csi/names.ts";
import type { OrphansReport } from "../../csi/storage-admin.ts";
import { TrivetError } from "../../errors.ts";
import { print } from "../print.ts";
import { formatTable } from "../table.ts";
import { addOutput, addStorageSettings, askStorage, readStorageSettings } from "./access.ts";
import { formatBytes } from "./bytes.ts";

interface OrphansFlags {
  readonly output: string;
  readonly pvFile?: string;
  readonly minAge: string;
  readonly delete?: true | string[];
}

/** A provisioner makes the volume before its PersistentVolume, and tries for some minutes. */
const DEFAULT_MIN_AGE_MINUTES = 60;
const API_TIMEOUT_MS = 60_000;

/** Adds the subcommand to `trivet storage`. */
export function defineOrphans(storage: Command): void {
  const command = storage
    .command("orphans")
    .description(
      "compare volumes, PersistentVolumes and mounts: what has lost its counterpart; remove it with --delete",
    )
    .option(
      "--pv-file <file>",
      'the PersistentVolumes, from "kubectl get pv -o json", where no API server can be asked',
    )
    .option("--min-age <minutes>", "spare volumes that are younger", String(DEFAULT_MIN_AGE_MINUTES))
    .option("--delete [subject...]", "remove them: all that may be removed, or only those named");
  addStorageSettings(addOutput(command), { asksCluster: true })
    .addHelpText(
      "after",
      `
Without --delete nothing is changed. Volumes are deleted as their class says, into the trash or not. What is retained goes
only when it is named; what is quarantined, and PersistentVolumes, are never touched. Without PersistentVolumes no
volume is an orphan for the lack of one. The exit code is 1 if something could not be removed.

Examples:
  trivet storage orphans
  kubectl get pv -o json > pvs.json && trivet storage orphans --pv-file pvs.json
  trivet storage orphans --pv-file pvs.json --delete tv-gwlrxzxj-fs7abknbomjjktftiuum3stelg`,
    )
    .action(async (flags: OrphansFlags) => {
      const config = await readStorageSettings(command, { asksCluster: true });
      const persistentVolumes = await findPersistentVolumes(config, flags.pvFile);
      const request = {
        ...(persistentVolumes ? { persistentVolumes } : {}),
        graceMs: parseMinutes(flags.minAge) * 60_000,
        ...(flags.delete === undefined ? {} : { remove: flags.delete === true ? [] : flags.delete }),
      };
      const report = await askStorage(config, (admin) => admin.orphans(request));
      if (flags.output === "json") print(`${JSON.stringify(report, null, 2)}\n`);
      else print(orphansTable(report));
      if (report.orphans.some(({ outcome }) => outcome === "failed")) process.exitCode = 1;
    });
}

function parseMinutes(text: string): number {
  const minutes = Number(text);
  if (text !== "" && Number.isFinite(minutes) && minutes >= 0) return minutes;
  throw refused("--min-age", `is "${text}": give a number of minutes`);
}

function refused(flag: string, why: string, cause?: unknown): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "settings.parse",
    subject: flag,
    message: `${flag} ${why}`,
    cause,
  });
}

async function findPersistentVolumes(
  config: NodeConfig,
  file: string | undefined,
): Promise<readonly PersistentVolumeFacts[] | undefined> {
  const filter = { driver: driverName, topologyKey };
  if (file !== undefined) {
    const { parsePersistentVolumes } = await import("../../kube/persistent-volumes.ts");
    try {
      return parsePersistentVolumes(JSON.parse(await readFile(file, "utf8")), filter);
    } catch (error) {
      throw refused("--pv-file", `is ${file}: ${(error as Error).message}`, error);
    }
  }
  const [{ findCluster }, { createFiles }, { createSyscalls }] = await Promise.all([
    import("../cluster.ts"),
    import("../../host/files.ts"),
    import("../../host/syscall.ts"),
  ]);
  const access = await findCluster(config, createFiles(createSyscalls()));
  if (!access) return undefined;
  const [{ createApiClient }, { listPersistentVolumes }, { createClock }] = await Promise.all([
    import("../../kube/api-client.ts"),
    import("../../kube/persistent-volumes.ts"),
    import("../../host/clock.ts"),
  ]);
  const client = createApiClient({ access, clock: createClock(), userAgent: "trivet-storage" });
  try {
    return await listPersistentVolumes(client, filter, AbortSignal.timeout(API_TIMEOUT_MS));
  } finally {
    client.close();
  }
}

/** For people: one line an orphan, then what was not looked at and what to do. */
export function orphansTable({ orphans, away, comparedWithPersistentVolumes }: OrphansReport): string {
  const rows = orphans.map(({ kind, subject, pool, claim, sizeBytes, outcome, reason, detail }) => [
    ...[kind, subject, pool ?? "-", claim ?? "-", formatBytes(sizeBytes), outcome, reason ?? detail],
  ]);
  const heading = ["WHAT", "SUBJECT", "POOL", "CLAIM", "SIZE", "OUTCOME", "DETAIL"];
  const table = rows.length > 0 ? formatTable(heading, rows) : "Nothing is orphaned.\n";
  const notes = [
    ...away.map((pool) => `pool ${pool} is away: what it holds was not compared`),
    ...(comparedWithPersistentVolumes
      ? []
      : [
          "not compared with PersistentVolumes: there is no API server to ask; give --kubeconfig or --pv-file",
        ]),
    ...(orphans.some(({ outcome, removal }) => outcome === "found" && removal !== "no")
      ? ["nothing was removed of what says found: --delete does, with what is retained named"]
      : []),
  ];
  return notes.length > 0 ? `${table}\n${notes.map((note) => `${note}\n`).join("")}` : table;
}
