/**
 * What an expression may cost, in steps: about one for each node of it that is evaluated, more for long texts and lists.
 * The count depends on the expression and the message alone, so that the same call always ends in the same way.
 */
import { ExpressionFailure } from "./failure.ts";

/** Of all expressions of one policy on one call: some milliseconds of a slow processor. */
export const MAX_STEPS = 50_000;

/** Characters of a text, and elements of a list, that cost one step. */
const CHARACTERS_A_STEP = 256;
const ELEMENTS_A_STEP = 8;

// Made once: a loop may throw and catch it thousands of times, and each new error would record its stack.
const spent = new ExpressionFailure("it costs more steps than an expression may");
spent.stack = spent.message;

/** Counts down. What runs out stays out, also where the language's own rules swallow the error. */
export class Meter {
  #left = MAX_STEPS;

  /** Throws once nothing is left. */
  charge(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw spent;
  }

  /** Charges for a value that was made or looked at. */
  chargeValue(value: unknown): void {
    if (typeof value === "string") {
      if (value.length >= CHARACTERS_A_STEP) this.charge(Math.floor(value.length / CHARACTERS_A_STEP));
    } else if (Array.isArray(value) && value.length >= ELEMENTS_A_STEP) {
      this.charge(Math.floor(value.length / ELEMENTS_A_STEP));
    } else if (value instanceof Map && value.size >= ELEMENTS_A_STEP) {
      this.charge(Math.floor(value.size / ELEMENTS_A_STEP));
    }
  }

  /** Throws if something ran out and was swallowed. */
  settle(): void {
    if (this.#left < 0) throw spent;
  }

  get left(): number {
    return this.#left;
  }

  /** For the next policy. */
  reset(): void {
    this.#left = MAX_STEPS;
  }
}
