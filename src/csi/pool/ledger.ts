/**
 * What the volumes of one pool add up to. Nothing here is stored: it is rebuilt from the records whenever the pool is
 * opened. A reservation is made before the disk is touched, in one go with the check, so that any number of requests
 * at once stay within the budget together.
 */
import { refusal } from "../refusal.ts";

/** How much there is to give. */
export interface Room {
  /** The budget, or the size of the file system where none is set. */
  readonly limitBytes: number;
  /** What the file system has left for others than root (statfs). */
  readonly availableBytes: number;
}

/** Bytes by key: the id of a volume, or `trashKey` of its remains. */
export interface Ledger {
  readonly reservedBytes: number;
  /** Reserves `bytes` for `key`, in place of what it had; `exhausted` if what is new of it does not fit. */
  reserve(key: string, bytes: number, room: Room): void;
  /** Enters what exists already, whether it fits or not. */
  enter(key: string, bytes: number): void;
  release(key: string): void;
  /** Gives the reservation of a volume to its remains in the trash: their space is not free yet. */
  move(from: string, to: string): void;
  /** Every key with its bytes. */
  entries(): ReadonlyMap<string, number>;
}

/** An empty ledger; `pool` is its name in messages. */
export function createLedger(pool: string): Ledger {
  const reservations = new Map<string, number>();
  let reservedBytes = 0;
  const set = (key: string, bytes: number | undefined) => {
    reservedBytes += (bytes ?? 0) - (reservations.get(key) ?? 0);
    if (bytes === undefined) reservations.delete(key);
    else reservations.set(key, bytes);
  };
  return {
    get reservedBytes() {
      return reservedBytes;
    },
    reserve(key, bytes, { limitBytes, availableBytes }) {
      const had = reservations.get(key) ?? 0;
      const others = reservedBytes - had;
      // What it had may be filled already: it is no part of what the disk has left.
      const left = Math.max(0, Math.min(limitBytes - others, had + availableBytes));
      if (bytes > left) {
        throw refusal(
          "exhausted",
          pool,
          `${bytes} bytes do not fit into pool "${pool}": ${left} are left (${others} of ${limitBytes} reserved, ${availableBytes} free on the disk)`,
        );
      }
      set(key, bytes);
    },
    enter: (key, bytes) => set(key, bytes),
    release: (key) => set(key, undefined),
    move(from, to) {
      const bytes = reservations.get(from);
      if (bytes === undefined) return;
      set(from, undefined);
      set(to, bytes);
    },
    entries: () => reservations,
  };
}
