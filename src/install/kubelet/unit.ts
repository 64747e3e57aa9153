/**
 * A systemd service as its files make it: the unit, then its drop-ins. Only what decides on the kubelet's command line is read. Pure:
 * the files come as text. Nothing here asks systemd, so that it works on a node that is not running too.
 */
import { basename } from "node:path";
import { plainly, splitWords } from "./words.ts";

/** Where systemd looks for units, the strongest first. */
export const unitDirectories = [
  "/etc/systemd/system",
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
] as const;

/** Where what an administrator changes belongs. */
export const administratorUnits = unitDirectories[0];

export interface UnitFile {
  readonly path: string;
  readonly text: string;
}

/** What holds after all files. */
export interface Service {
  /** The command lines as they are written, continued lines joined: one for all types but oneshot. */
  readonly commands: readonly string[];
  /** In their order, without the `-` for one that may be missing. */
  readonly environmentFiles: readonly string[];
  /** Of Environment=. */
  readonly environment: ReadonlyMap<string, string>;
}

/** The unit's own file is the first; drop-ins follow in the order in which systemd reads them. */
export function parseService(files: readonly UnitFile[]): Service {
  let commands: string[] = [];
  let environmentFiles: string[] = [];
  let environment = new Map<string, string>();
  for (const { key, value } of files.flatMap(({ text }) => settingsOf(text))) {
    if (key === "ExecStart") commands = value === "" ? [] : [...commands, value];
    if (key === "EnvironmentFile")
      environmentFiles = value === "" ? [] : [...environmentFiles, value.replace(/^-/, "")];
    if (key === "Environment") {
      const pairs = splitWords(plainly(value)).map(({ text }) => text.split(/=(.*)/s));
      const added = pairs.map(([name = "", content = ""]) => [name, content] as const);
      environment = value === "" ? new Map() : new Map([...environment, ...added]);
    }
  }
  return { commands, environmentFiles, environment };
}

/** The settings of the section [Service]; a line that ends with a backslash goes on in the next one, after a blank. */
function settingsOf(text: string): { readonly key: string; readonly value: string }[] {
  const found: { key: string; value: string }[] = [];
  let section = "";
  for (const line of joinLines(text)) {
    section = /^\[(.*)\]\s*$/.exec(line)?.[1] ?? section;
    const [, key, value] = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/s.exec(line) ?? [];
    if (section === "Service" && key !== undefined && value !== undefined) found.push({ key, value });
  }
  return found;
}

function joinLines(text: string): string[] {
  const joined: string[] = [];
  let open: string | undefined;
  for (const line of text.split("\n")) {
    // A comment within a continued line is passed over, and the line goes on.
    if (/^\s*[#;]/.test(line)) continue;
    const whole = open === undefined ? line : `${open} ${line.trim()}`;
    open = undefined;
    if (/\\$/.test(whole)) open = whole.slice(0, -1).trimEnd();
    else joined.push(whole);
  }
  return open === undefined ? joined : [...joined, open];
}

/**
 * Of all `*.conf` files of all directories `<unit>.d`, those that count, in the order in which they are read: by their names, and of
 * two with one name the one in the stronger directory.
 */
export function orderDropIns(paths: readonly string[]): string[] {
  const strongest = new Map<string, string>();
  for (const directory of unitDirectories) {
    for (const path of paths) {
      if (!path.startsWith(`${directory}/`) || !path.endsWith(".conf")) continue;
      if (!strongest.has(basename(path))) strongest.set(basename(path), path);
    }
  }
  return [...strongest.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
}
