/**
 * Who answers `trivet storage`: the daemon, by its socket, or where it is away this process, which then holds the pools
 * for a moment as the daemon would. Two never work on one pool.
 */
import { hostname } from "node:os";
import type { Command } from "commander";
import { type NodeConfig, nodeFileSchema } from "../../config/node.ts";
import type { StorageAdmin } from "../../csi/storage-admin.ts";
import { isKind, TrivetError } from "../../errors.ts";
import { askAdmin } from "../../host/admin-socket.ts";
import { nodeSettings } from "../node.ts";
import { addSettings, readSettings } from "../settings.ts";

const own = ["nodeId", "csi.adminSocket", "csi.pools", "stateDir", "kubeletRoot"].map(
  (name) => `node.${name}`,
);
const cluster = ["kubeconfig", "kubernetes"].map((name) => `node.${name}`);

/** The settings that these commands share with `trivet node`. */
const settings = nodeSettings.filter(({ path }) => own.includes(path));
const withCluster = nodeSettings.filter(({ path }) => [...own, ...cluster].includes(path));

/** A subcommand with its settings; with `asksCluster` those of the API server too. */
export function addStorageSettings(command: Command, { asksCluster = false } = {}): Command {
  addSettings(command, asksCluster ? withCluster : settings);
  return command;
}

/** `-o table|json`. */
export function addOutput(command: Command): Command {
  const option = command.createOption("-o, --output <format>", "table or json");
  return command.addOption(option.choices(["table", "json"]).default("table"));
}

/** As given; without `--config` and `--node-id` this node is called as its host. */
export async function readStorageSettings(
  command: Command,
  { asksCluster = false } = {},
): Promise<NodeConfig> {
  const isNamed = [
    command.getOptionValue("nodeId"),
    command.getOptionValue("config"),
    process.env.NODE_NAME,
  ].some(Boolean);
  if (!isNamed) command.setOptionValueWithSource("nodeId", hostname(), "cli");
  const { node } = await readSettings(command, asksCluster ? withCluster : settings, nodeFileSchema);
  return node;
}

/** Asks whoever is there. Throws what was thrown there; `unavailable` with the remedy where nothing can be asked. */
export async function askStorage<T>(
  config: NodeConfig,
  ask: (admin: StorageAdmin) => Promise<T>,
): Promise<T> {
  try {
    return await ask(remote(config.csi.adminSocket));
  } catch (error) {
    if (!isKind(error, "unavailable") || error.subject !== config.csi.adminSocket) throw error;
  }
  process.stderr.write(
    `trivet: no trivet node answers at ${config.csi.adminSocket}: the pools are opened here, for this command\n`,
  );
  return withOwnDriver(config, ask);
}

function remote(path: string): StorageAdmin {
  const ask = async (name: string, argument?: object) => (await askAdmin(path, name, argument)) as never;
  return {
    volumes: () => ask("volumes"),
    pools: () => ask("pools"),
    orphans: (request) => ask("orphans", request),
    undelete: (request) => ask("undelete", request),
    adopt: (request) => ask("adopt", request),
  };
}

async function withOwnDriver<T>(config: NodeConfig, ask: (admin: StorageAdmin) => Promise<T>): Promise<T> {
  const [{ createDriver }, { createCsiDeps }, { createSyscalls }, { createLog }, { version }] =
    await Promise.all([
      import("../../csi/driver.ts"),
      import("../host.ts"),
      import("../../host/syscall.ts"),
      import("../../observe/log.ts"),
      import("../../version.ts"),
    ]);
  const deps = await createCsiDeps(createSyscalls());
  const { stateDir, nodeId, kubeletRoot } = config;
  const pools = [];
  for (const pool of config.csi.pools) {
    // A pool that was never opened is not made one by a question.
    const record = `${stateDir}/pools/${pool.name}.json`;
    const isKnown = await deps.files.stat(record).then(
      () => true,
      () => false,
    );
    if (isKnown) pools.push(pool);
    else
      process.stderr.write(
        `trivet: pool "${pool.name}" was never opened with the state directory ${stateDir}: left out\n`,
      );
  }
  if (pools.length === 0) throw nothingToOpen(config);
  const driver = createDriver({
    ...{
      nodeId,
      pools,
      kubeletRoot,
      stateDir,
      deps,
      driverVersion: version,
      log: createLog("storage", "error"),
    },
  });
  try {
    return await ask(driver.admin);
  } finally {
    await driver.stop();
  }
}

function nothingToOpen({ csi, stateDir }: NodeConfig): TrivetError {
  return new TrivetError({
    ...{ kind: "unavailable", op: "storage.open", subject: csi.adminSocket },
    message: `no trivet node answers at ${csi.adminSocket}, and ${stateDir} knows none of these pools: start trivet node, or give --storage-socket, or its --config`,
  });
}
