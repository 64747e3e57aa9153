/**
 * What is being copied at the moment. Several copies may read one source; meanwhile nobody may remove it, nor use a
 * volume whose copy is to be of one moment and whose backend cannot see to that by itself. In memory only: the copies
 * of a process that has died are gone with it.
 */
import { refusal } from "../refusal.ts";

/** The volumes and snapshots that are being read. */
export interface Sources {
  /** Begins to read; the function ends it. `keepUnused`: nobody may begin to use it, which is no use of it now. */
  read(id: string, reader: { readonly what: string; readonly keepUnused: boolean }): () => void;
  /** Throws `busy` while it is being copied. Asked under the lock of the volume or snapshot. */
  requireRemovable(id: string): void;
  /** Throws `busy` while a copy depends on it not being used. Asked under the lock of the volume. */
  requireUsable(id: string): void;
}

interface Reader {
  readonly what: string;
  readonly keepUnused: boolean;
}

/** Nothing is being read. One for the whole process. */
export function createSources(): Sources {
  const readers = new Map<string, Set<Reader>>();
  const refuse = (id: string, reader: Reader | undefined, remedy: string) => {
    if (reader)
      throw refusal("busy", id, `${id} is being copied to ${reader.what}: ${remedy} when that is done`);
  };
  return {
    read(id, reader) {
      const own = { ...reader };
      const all = readers.get(id) ?? new Set();
      readers.set(id, all.add(own));
      return () => {
        all.delete(own);
        if (all.size === 0 && readers.get(id) === all) readers.delete(id);
      };
    },
    requireRemovable(id) {
      const [reader] = readers.get(id) ?? [];
      refuse(id, reader, "it can be deleted");
    },
    requireUsable(id) {
      const reader = [...(readers.get(id) ?? [])].find(({ keepUnused }) => keepUnused);
      refuse(id, reader, "it can be used");
    },
  };
}
