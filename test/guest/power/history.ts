/**
 * What a guest said that it was about to do and had done, and what must therefore be on the disk after its power was cut.
 * Pure: both sides of the serial line use it.
 */

/** A file that was written and synced: its bytes follow from the seed. */
export interface WrittenFile {
  readonly seed: number;
  readonly bytes: number;
}

/** A line of the guest: what begins, or what was acknowledged. Names are unique over all rounds. */
export type Line = { readonly state: "do" | "ack" } & (
  | {
      readonly op: "create";
      readonly name: string;
      readonly bytes: number;
      readonly from?: Source;
      readonly id?: string;
    }
  | { readonly op: "write"; readonly name: string; readonly file: string; readonly content: WrittenFile }
  | { readonly op: "expand"; readonly name: string; readonly bytes: number }
  | { readonly op: "snapshot"; readonly name: string; readonly of: string; readonly id?: string }
  | { readonly op: "delete" | "delete-snapshot"; readonly name: string }
);

/** What a volume was made from, by name. */
export interface Source {
  readonly kind: "volume" | "snapshot";
  readonly name: string;
}

/** `begun` and `going` may have happened or not; what is `there` must be there, what is `gone` must not. */
export type Certainty = "begun" | "there" | "going" | "gone";

/** A volume, or a snapshot, which has the files of its volume at that moment. */
export interface Expected {
  readonly kind: "volume" | "snapshot";
  readonly name: string;
  certainty: Certainty;
  id?: string;
  /** What was acknowledged last, and what may have been reached since. */
  bytes: number;
  mostBytes: number;
  readonly from?: Source;
  readonly files: Record<string, WrittenFile>;
}

/** The file, its bytes by seed: any change of one, or a piece that is missing, shows. */
export function contentOf({ seed, bytes }: WrittenFile): Buffer {
  const content = Buffer.alloc(bytes);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let at = 0; at + 4 <= bytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    content.writeUInt32LE(state, at);
  }
  return content;
}

/** Everything that was ever made, by name, as the lines in their order leave it. */
export function expectationsOf(lines: readonly Line[]): Map<string, Expected> {
  const all = new Map<string, Expected>();
  for (const line of lines) apply(all, line);
  return all;
}

function apply(all: Map<string, Expected>, line: Line): void {
  const acknowledged = line.state === "ack";
  const entry = all.get(line.name);
  if (line.op === "create" || line.op === "snapshot") {
    const made = entry ?? begin(all, line);
    if (!acknowledged) return;
    made.certainty = "there";
    if (line.id !== undefined) made.id = line.id;
    return;
  }
  if (!entry) throw new Error(`${line.name} was never begun`);
  if (line.op === "write") {
    if (acknowledged) entry.files[line.file] = line.content;
  } else if (line.op === "expand") {
    entry.mostBytes = Math.max(entry.mostBytes, line.bytes);
    if (acknowledged) entry.bytes = line.bytes;
  } else {
    entry.certainty = acknowledged ? "gone" : "going";
  }
}

function begin(all: Map<string, Expected>, line: Line & { op: "create" | "snapshot" }): Expected {
  const source = line.op === "snapshot" ? all.get(line.of) : line.from && all.get(line.from.name);
  const bytes = line.op === "snapshot" ? (source?.bytes ?? 0) : line.bytes;
  const made: Expected = {
    kind: line.op === "snapshot" ? "snapshot" : "volume",
    ...{ name: line.name, certainty: "begun", bytes, mostBytes: bytes },
    from: line.op === "snapshot" ? { kind: "volume", name: line.of } : line.from,
    // A copy has what its source had when it was begun: nothing else is done with the source meanwhile.
    files: { ...source?.files },
  } as Expected;
  all.set(line.name, made);
  return made;
}
