/** The versions of the CNI specification that the plugin speaks, and what each of them has. */
import { TrivetError } from "../../errors.ts";

/** Oldest first, as VERSION lists them. */
export const supportedVersions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
/** One of ours. */
export type SpecVersion = (typeof supportedVersions)[number];

/** What errors carry when the configuration names no version that we speak. */
export const newestVersion: SpecVersion = "1.1.0";

/** Exactly: `1.0` is no version. */
export function isSupportedVersion(value: unknown): value is SpecVersion {
  return supportedVersions.some((version) => version === value);
}

/** Whether a version is `wanted` or later. */
export function isAtLeast(version: SpecVersion, wanted: SpecVersion): boolean {
  return supportedVersions.indexOf(version) >= supportedVersions.indexOf(wanted);
}

/** The version that brought a command. */
const since = { CHECK: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" } as const;

/** As libcni's skeleton has it: a configuration of a version before the command is code 1. */
export function requireCommand(command: string, version: SpecVersion): void {
  const wanted = Object.hasOwn(since, command) ? since[command as keyof typeof since] : undefined;
  if (!wanted || isAtLeast(version, wanted)) return;
  throw new TrivetError({
    kind: "version",
    op: "netconf.version",
    subject: "cniVersion",
    message: `the network configuration has cniVersion "${version}": ${command} needs ${wanted} or later`,
  });
}

/** The `cniVersion` of a network configuration. Without one libcni means 0.1.0, which is not ours either. */
export function parseVersion(value: unknown): SpecVersion {
  if (isSupportedVersion(value)) return value;
  const got =
    value === undefined ? "no cniVersion (which means 0.1.0)" : `cniVersion ${JSON.stringify(value)}`;
  throw new TrivetError({
    kind: "version",
    op: "netconf.version",
    subject: "cniVersion",
    message: `the network configuration has ${got}: trivet speaks ${supportedVersions.join(", ")}`,
  });
}

/** The answer to VERSION: the version that was asked with, as the specification wants it, and ours. */
export function versionReply(stdin: string): string {
  let asked: unknown;
  try {
    asked = (JSON.parse(stdin) as { cniVersion?: unknown } | null)?.cniVersion;
  } catch {
    // The reference skeleton does not read stdin at all for VERSION, so nothing there can be wrong.
  }
  const cniVersion = typeof asked === "string" && asked !== "" ? asked : newestVersion;
  return `${JSON.stringify({ cniVersion, supportedVersions })}\n`;
}
