/**
 * Unit files and how they are enabled: by the links that their [Install] sections ask for. They are made here and not by `systemctl
 * enable`, so that each is journalled like every other file, and an image can be prepared without a running systemd.
 */
import { join } from "node:path";
import type { Files } from "../host/files.ts";
import type { Journal, Outcome } from "./journal.ts";
import { ifThere } from "./state.ts";

export const unitDirectory = "/etc/systemd/system";

/** A unit file to be there. */
export interface Unit {
  /** Such as `trivet-cri.socket`. */
  readonly name: string;
  readonly text: string;
}

/** All units of a directory, by name. */
export async function readUnits(files: Files, directory: string): Promise<Unit[]> {
  const listed = (await ifThere(files.list(directory))) ?? [];
  const names = listed
    .map(({ name }) => name)
    .filter((name) => /\.(service|socket|target|timer|path)$/.test(name))
    .sort();
  return Promise.all(
    names.map(async (name) => ({
      name,
      text: (await files.read(join(directory, name))).toString("utf8"),
    })),
  );
}

/** The directives of [Install] that make links, each with what it makes of a unit that it names (systemd.unit(5)). */
const wishes: Readonly<Record<string, (unit: string, value: string) => string>> = {
  WantedBy: (unit, value) => `${value}.wants/${unit}`,
  RequiredBy: (unit, value) => `${value}.requires/${unit}`,
  Alias: (_unit, value) => value,
};

/** The links that enable a unit, as paths below the unit directory. None for a unit that others pull in. */
export function enablementLinks({ name, text }: Unit): string[] {
  const links: string[] = [];
  let section = "";
  for (const raw of text.replace(/\\\n/g, " ").split("\n")) {
    const line = raw.trim();
    if (line.startsWith("[")) section = line;
    const [, key = "", values = ""] = /^(\w+)\s*=\s*(.*)$/.exec(line) ?? [];
    const wish = section === "[Install]" ? wishes[key] : undefined;
    if (wish)
      links.push(
        ...values
          .split(/\s+/)
          .filter(Boolean)
          .map((value) => wish(name, value)),
      );
  }
  return links;
}

/** What became of a path. */
export interface Row {
  readonly path: string;
  readonly outcome: Outcome;
}

export interface PutUnits {
  readonly journal: Journal;
  readonly units: readonly Unit[];
  readonly force?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
}

/** The unit files first, then what enables them. */
export async function putUnits({ journal, units, force, dryRun }: PutUnits): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, text } of units) {
    const path = join(unitDirectory, name);
    const file = { path, content: Buffer.from(text), mode: 0o644, owner: "units", force } as const;
    rows.push({ path, outcome: dryRun ? await journal.look(file) : await journal.replace(file) });
  }
  for (const unit of units) {
    for (const link of enablementLinks(unit)) {
      const path = join(unitDirectory, link);
      const wanted = { path, target: join(unitDirectory, unit.name), owner: "units", force } as const;
      rows.push({ path, outcome: dryRun ? await journal.lookLink(wanted) : await journal.link(wanted) });
    }
  }
  return rows;
}
