/**
 * What is remembered of released addresses: since when one rests, where the network has a cooldown, and which one a pod had
 * last, where addresses are sticky. Only hints: what cannot be written or read is not known, and nothing waits for it.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { isKind } from "../../errors.ts";
import type { Files, OpenFile } from "../../host/files.ts";
import type { PodIdentity } from "../protocol/environment.ts";
import { nullIfAbsent } from "../state/guard.ts";
import type { NetworkPaths } from "../state/paths.ts";
import { parseAddress } from "./address.ts";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
/**
 * Pods of other names, or addresses of one large pool, may meet in one place and replace one another: so the memory has a bound. An
 * address then rests for longer than it must, or a pod is forgotten.
 */
const PLACES = 4_096;
/** `r `, milliseconds since the epoch in 15 digits, a newline. No longer than the shortest lease. */
const STAMP_DIGITS = 15;

/** Failures of a file system that must not keep an address from being freed. */
async function asHint(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (isKind(error, "exhausted", "io", "conflict", "not-found")) return false;
    throw error;
  }
}

function restPath(paths: NetworkPaths, address: string): string {
  const { family, value } = parseAddress(address) ?? { family: 4, value: 0n };
  return join(paths.released, `${value % BigInt(PLACES)}.${family}`);
}

/**
 * Frees a lease, under its guard, by renaming its file to where it rests; then the time goes over its first bytes. Where that
 * does not work the lease is simply removed.
 */
export async function putToRest(
  files: Files,
  { paths, address, file, nowMs }: { paths: NetworkPaths; address: string; file: OpenFile; nowMs: number },
): Promise<void> {
  const [path, rest] = [paths.lease(address), restPath(paths, address)];
  await asHint(files.mkdir(paths.released, DIRECTORY_MODE));
  if (!(await asHint(files.rename(path, rest)))) return files.unlink(path);
  const stamp = Buffer.from(`r ${String(nowMs).padStart(STAMP_DIGITS, "0")}\n`);
  await asHint(file.write(stamp, 0));
}

/** Whether the address was released less than `cooldownMs` ago. */
export async function isResting(
  files: Files,
  { paths, address }: { readonly paths: NetworkPaths; readonly address: string },
  { nowMs, cooldownMs }: { readonly nowMs: number; readonly cooldownMs: number },
): Promise<boolean> {
  const content = await nullIfAbsent(files.read(restPath(paths, address)));
  const stamp = /^r ([0-9]{15})\n/.exec(content?.subarray(0, STAMP_DIGITS + 3).toString("latin1") ?? "");
  const restedMs = stamp ? nowMs - Number(stamp[1]) : Number.POSITIVE_INFINITY;
  return restedMs >= 0 && restedMs < cooldownMs;
}

interface StickyKey {
  readonly pod: PodIdentity;
  readonly family: 4 | 6;
}

function stickyPath(paths: NetworkPaths, { pod, family }: StickyKey): string {
  const digest = createHash("sha256").update(podName(pod)).digest();
  return join(paths.sticky, `${digest.readUInt32BE() % PLACES}.${family}`);
}

const podName = ({ namespace, name }: PodIdentity) => `${namespace}/${name}`;

/** The address that the last pod of this name had; undefined where that is not known. */
export async function readSticky(
  files: Files,
  paths: NetworkPaths,
  key: StickyKey,
): Promise<string | undefined> {
  if (key.pod.name === "") return undefined;
  const text = (await nullIfAbsent(files.read(stickyPath(paths, key))))?.toString("utf8") ?? "";
  const [pod, address] = text.trimEnd().split(" ");
  return pod === podName(key.pod) ? address : undefined;
}

/** Remembers it, if there is room. */
export async function writeSticky(
  files: Files,
  paths: NetworkPaths,
  { address, ...key }: StickyKey & { readonly address: string },
): Promise<void> {
  if (key.pod.name === "") return;
  const path = stickyPath(paths, key);
  await asHint(files.mkdir(paths.sticky, DIRECTORY_MODE));
  await asHint(files.unlink(path));
  await asHint(files.create(path, Buffer.from(`${podName(key.pod)} ${address}\n`), FILE_MODE));
}
