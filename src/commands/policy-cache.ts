/**
 * The last good set of policies, kept on disk: a node that starts with a file that somebody has just broken must still
 * start its pods, under the rules that held before. For root alone: policies may hold credentials.
 */
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { PolicySource } from "../cri/policy/load.ts";

interface Kept {
  /** The set is of no use for another directory. */
  readonly directory: string;
  readonly sources: readonly PolicySource[];
}

const MODE = 0o600;

function isKept(value: unknown): value is Kept {
  if (typeof value !== "object" || value === null) return false;
  const { directory, sources } = value as Partial<Kept>;
  if (typeof directory !== "string" || !Array.isArray(sources)) return false;
  return sources.every(
    (source: Partial<PolicySource>) => typeof source?.file === "string" && typeof source.text === "string",
  );
}

/** Undefined where nothing (or nothing that can be read) was kept for this directory. */
export async function readPolicyCache(
  file: string,
  directory: string,
): Promise<readonly PolicySource[] | undefined> {
  try {
    const kept: unknown = JSON.parse(await readFile(file, "utf8"));
    return isKept(kept) && kept.directory === directory ? kept.sources : undefined;
  } catch {
    return undefined; // none yet, or torn: the start is then refused for what is wrong with the directory
  }
}

/** The file is replaced as a whole, and is on disk when this resolves. */
export async function writePolicyCache(file: string, kept: Kept): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  await mkdir(dirname(file), { recursive: true });
  try {
    const handle = await open(temporary, "w", MODE);
    try {
      await handle.writeFile(JSON.stringify(kept));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
