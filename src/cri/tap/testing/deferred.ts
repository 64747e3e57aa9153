/** Decisions that are made when a test says so. */
import type { EditDecision } from "../hooks.ts";

/** One decision that is waited for. */
export interface Deferred {
  readonly promise: Promise<EditDecision>;
  resolve(decision: EditDecision): void;
  reject(error: Error): void;
}

/** A promise with its ends in hand. */
export function defer(): Deferred {
  return Promise.withResolvers<EditDecision>();
}

/** Lets all that is settled be acted on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await null;
}
