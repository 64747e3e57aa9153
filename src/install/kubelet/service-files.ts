/** The files of one systemd service among the facts. Pure. */
import { basename } from "node:path";
import type { NodeFacts } from "./facts.ts";
import { isOwnName, ownFile } from "./own-file.ts";
import {
  administratorUnits,
  orderDropIns,
  parseService,
  type Service,
  type UnitFile,
  unitDirectories,
} from "./unit.ts";

/** The unit's own file, then its drop-ins; none where there is no such unit. Without ours, unless asked for. */
export function unitFilesOf(
  files: ReadonlyMap<string, string>,
  unit: string,
  { withOurs }: { readonly withOurs: boolean },
): UnitFile[] {
  const main = unitDirectories.map((directory) => `${directory}/${unit}`).find((path) => files.has(path));
  if (main === undefined) return [];
  const dropIns = orderDropIns([...files.keys()].filter((path) => isDropInOf(path, unit)));
  const counted = dropIns.filter((path) => withOurs || !isOwnName(basename(path)));
  return [main, ...counted].map((path) => ({ path, text: files.get(path) ?? "" }));
}

const isDropInOf = (path: string, unit: string) =>
  unitDirectories.some((directory) => path.startsWith(`${directory}/${unit}.d/`));

/** The service as its files make it, or undefined without any. */
export function serviceOf(facts: NodeFacts, unit: string, withOurs = true): Service | undefined {
  const found = unitFilesOf(facts.files, unit, { withOurs });
  return found.length === 0 ? undefined : parseService(found);
}

/** Where our drop-in of this unit goes: after every other one that sets a command line or a variable. */
export function dropInPath(facts: NodeFacts, unit: string): string {
  const rivals = unitFilesOf(facts.files, unit, { withOurs: false })
    .slice(1)
    .filter(({ text }) => /^\s*(ExecStart|Environment|EnvironmentFile)\s*=/m.test(text));
  return ownFile(`${administratorUnits}/${unit}.d`, {
    ending: ".conf",
    rivals: rivals.map(({ path }) => basename(path)),
  });
}
