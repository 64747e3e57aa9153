/** The only place where an error kind becomes a code of the CNI specification (SPEC.md, "Error"). Ours start at 100. */
import type { Kind } from "../errors.ts";

/** The codes that we send, by their names in the specification; from 100 on by ours. */
export const cniCodes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  /** Tells the runtime that nothing needs to be cleaned up. */
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  /** STATUS only: an ADD would fail. */
  notAvailable: 50,
  conflict: 100,
  precondition: 101,
  /** What the reference library sends for anything unexpected. */
  internal: 999,
} as const;

const codeByKind = {
  invalid: cniCodes.invalidConfig,
  environment: cniCodes.invalidEnvironment,
  decode: cniCodes.decode,
  version: cniCodes.incompatibleVersion,
  unsupported: cniCodes.unsupportedField,
  range: cniCodes.invalidConfig,
  "not-found": cniCodes.unknownContainer,
  conflict: cniCodes.conflict,
  precondition: cniCodes.precondition,
  busy: cniCodes.tryAgainLater,
  // An address may be free again when the runtime comes back.
  exhausted: cniCodes.tryAgainLater,
  unavailable: cniCodes.tryAgainLater,
  cancelled: cniCodes.tryAgainLater,
  deadline: cniCodes.tryAgainLater,
  io: cniCodes.io,
  bug: cniCodes.internal,
} satisfies Record<Kind, number>;

const unavailableKinds: readonly Kind[] = ["exhausted", "unavailable", "io", "precondition", "not-found"];

/**
 * Total: a new kind does not compile until it has a code. To STATUS what is wrong with the host is 50 (SPEC.md, "STATUS"). Only CHECK
 * says "unknown container": after an ADD or a DEL that failed there may be something to clean up, whatever was not found.
 */
export function kindToCniCode(kind: Kind, command: string): number {
  if (command === "STATUS" && unavailableKinds.includes(kind)) return cniCodes.notAvailable;
  if (kind === "not-found" && command !== "CHECK") return cniCodes.precondition;
  return codeByKind[kind];
}
