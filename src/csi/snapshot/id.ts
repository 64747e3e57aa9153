/**
 * Snapshot ids: `ts-`, eight letters that stand for the node, a dash, and a hash of the request's name. The same request
 * always leads to the same snapshot, with all state lost as well; of which volume it is says its record.
 */
import { hashLetters } from "../base32.ts";

/** An id that has the right form; whether there is such a snapshot is another matter. */
export type SnapshotId = string & { readonly snapshotId: true };

const NODE_LETTERS = 8;
/** 130 bits: no two names of one cluster meet by chance. */
const NAME_LETTERS = 26;
const pattern = new RegExp(`^ts-[a-z2-7]{${NODE_LETTERS}}-[a-z2-7]{${NAME_LETTERS}}$`);
/** The ids of volumes and of snapshots have one shape. */
const PREFIX_LENGTH = "ts-".length;

/** The id of the snapshot that a CreateSnapshot of this name makes on this node, whatever it is of. */
export function snapshotIdFor(origin: { readonly nodeId: string; readonly name: string }): SnapshotId {
  const node = hashLetters(origin.nodeId, NODE_LETTERS);
  return `ts-${node}-${hashLetters(origin.name, NAME_LETTERS)}` as SnapshotId;
}

/** `text` as an id, or undefined if it is none of ours: that is an unknown snapshot, not an error. */
export function parseSnapshotId(text: string): SnapshotId | undefined {
  return pattern.test(text) ? (text as SnapshotId) : undefined;
}

/** Whether a volume or snapshot of this id was made on this node: if not, nothing here can tell whether it is there. */
export function isMadeOn(nodeId: string, id: string): boolean {
  return id.slice(PREFIX_LENGTH, PREFIX_LENGTH + NODE_LETTERS) === hashLetters(nodeId, NODE_LETTERS);
}
