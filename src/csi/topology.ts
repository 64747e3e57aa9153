/**
 * Where volumes of this node can be reached: on this node. The value that stands for a node is the same in
 * NodeGetInfo, in answers of CreateVolume and in requirements, also for names that are too long for a label.
 */
import { hashLetters } from "./base32.ts";
import { topologyKey } from "./names.ts";
import { invalid, refusal } from "./refusal.ts";
import type { CreateVolumeRequest, WireTopology } from "./wire.ts";

/** The specification's limit for a segment's value, and Kubernetes' for a label's. */
const MAX_VALUE_LENGTH = 63;
/** Kubernetes' limit for a node's name (a DNS subdomain). */
const MAX_NODE_ID_LENGTH = 253;
const HASH_LETTERS = 10;
const nodeIdPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** A node's name as a topology value: itself, or where it is too long a prefix and a hash of the whole. */
export function topologyValue(nodeId: string): string {
  if (!nodeIdPattern.test(nodeId) || nodeId.length > MAX_NODE_ID_LENGTH) {
    throw invalid(
      "node id",
      `"${nodeId}" is no node name: give at most ${MAX_NODE_ID_LENGTH} letters, digits, dots and dashes, with a letter or digit at both ends`,
    );
  }
  if (nodeId.length <= MAX_VALUE_LENGTH) return nodeId;
  const prefix = nodeId.slice(0, MAX_VALUE_LENGTH - HASH_LETTERS - 1);
  return `${prefix}-${hashLetters(nodeId, HASH_LETTERS)}`;
}

/** The topology of everything that this node makes. */
export function nodeTopology(nodeId: string): WireTopology {
  return { segments: { [topologyKey]: topologyValue(nodeId) } };
}

/**
 * Refuses what must not be here: `requisite` names places of which one has to fit, `preferred` alone is a wish. The
 * caller reschedules the pod on `exhausted` (external-provisioner, WaitForFirstConsumer).
 */
export function requireReachable(
  requirement: CreateVolumeRequest["accessibility_requirements"],
  own: WireTopology,
): void {
  const requisite = requirement?.requisite ?? [];
  if (requisite.length === 0 || requisite.some(({ segments }) => isWithin(segments, own.segments))) return;
  const value = own.segments[topologyKey];
  throw refusal(
    "exhausted",
    "accessibility_requirements",
    `accessibility_requirements name no place on this node: its volumes are reachable where ${topologyKey} is "${value}"`,
  );
}

/** Whether a place is on this node: all its segments are ours. */
export function isReachable(wanted: WireTopology, own: WireTopology): boolean {
  return isWithin(wanted.segments, own.segments);
}

function isWithin(wanted: Readonly<Record<string, string>>, own: Readonly<Record<string, string>>): boolean {
  const entries = Object.entries(wanted);
  return entries.length > 0 && entries.every(([key, value]) => own[key] === value);
}
