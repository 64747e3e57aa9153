/** What every verb of installing works with: the files of the system that is installed to, its journal, its service manager. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { defaultStateDir } from "../../config/node.ts";
import { TrivetError } from "../../errors.ts";
import type { Exec } from "../../host/exec.ts";
import type { Files } from "../../host/files.ts";
import { createJournal, type Journal } from "../../install/journal.ts";
import { whileLocked } from "../../install/lock.ts";
import { rootedFiles } from "../../install/rooted-files.ts";
import {
  createServices,
  detectServices,
  type ServiceKind,
  type Services,
  serviceKinds,
} from "../../install/services.ts";
import { createTrialDeps } from "./trial-deps.ts";

/** Flags that they share, as commander gives them. */
export interface SystemFlags {
  readonly root: string;
  readonly stateDir: string;
  readonly serviceManager: ServiceKind;
}

/** The system that is installed to. */
export interface System {
  /** Where it is mounted: `/`, unless it is an image or another disk. */
  readonly root: string;
  /** Paths as that system has them. */
  readonly files: Files;
  /** The files of the system that the installer itself runs on. */
  readonly ownFiles: Files;
  readonly exec: Exec;
  readonly journal: Journal;
  readonly stateDir: string;
  readonly services: Services;
}

export function addSystemOptions(command: Command): void {
  command
    .option("--root <dir>", "work on the system below this directory, such as an image; starts nothing", "/")
    .option("--state-dir <dir>", "where it is remembered what was there before", defaultStateDir)
    .addOption(
      new Option("--service-manager <kind>", "what runs the node's services")
        .choices(serviceKinds)
        .default("auto"),
    );
}

/** Runs `act` with nobody else installing on that system. Throws kind `precondition` where that is not ours to do. */
export async function withSystem<T>(flags: SystemFlags, act: (system: System) => Promise<T>): Promise<T> {
  const system = await openSystem(flags);
  return whileLocked(system.files, system.stateDir, () => act(system));
}

/** For looking only: others may install meanwhile. */
export async function openSystem({ root: given, stateDir, serviceManager }: SystemFlags): Promise<System> {
  if (process.getuid?.() !== 0) {
    const message = "this changes files of the system: run it as root";
    throw new TrivetError({ kind: "precondition", op: "install", subject: "user", message });
  }
  const { files: ownFiles, exec } = await createTrialDeps();
  // Never its real path: that of another process's root, /proc/PID/root, would be our own.
  const root = resolve(given);
  const files = rootedFiles(ownFiles, root);
  const state = resolve(stateDir);
  const found = root === "/" ? await detectServices(files) : "none";
  const kind = serviceManager === "auto" ? found : serviceManager;
  return {
    ...{ root, files, ownFiles, exec, stateDir: state },
    journal: createJournal({ files, stateDir: state }),
    services: createServices(kind, exec),
  };
}

/** One line on stderr for a step that takes long: stdout is for what was done. */
export function progress(text: string): void {
  process.stderr.write(`${text} ...\n`);
}
