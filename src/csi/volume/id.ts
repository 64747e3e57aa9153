/**
 * Volume ids: `tv-`, eight letters that stand for the node, a dash, and a hash of the request's name and the pool.
 * The same request always leads to the same place, with all state lost as well. An id is opaque: nothing is read
 * out of it, and what does not look like one is the id of nothing.
 */
import { hashLetters } from "../base32.ts";

/** An id that has the right form; whether there is such a volume is another matter. */
export type VolumeId = string & { readonly volumeId: true };

const NODE_LETTERS = 8;
/** 130 bits: no two names of one cluster meet by chance. */
const NAME_LETTERS = 26;
const pattern = new RegExp(`^tv-[a-z2-7]{${NODE_LETTERS}}-[a-z2-7]{${NAME_LETTERS}}$`);

/** The id of the volume that a CreateVolume of this name makes on this node in this pool. */
export function volumeIdFor(origin: {
  readonly nodeId: string;
  readonly pool: string;
  readonly name: string;
}): VolumeId {
  const node = hashLetters(origin.nodeId, NODE_LETTERS);
  // A pool's name holds no slash, so that no two pairs give one text.
  const name = hashLetters(`${origin.pool}/${origin.name}`, NAME_LETTERS);
  return `tv-${node}-${name}` as VolumeId;
}

/** `text` as an id, or undefined if it is none of ours: that is an unknown volume, not an error. */
export function parseVolumeId(text: string): VolumeId | undefined {
  return pattern.test(text) ? (text as VolumeId) : undefined;
}
