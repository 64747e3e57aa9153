/**
 * What every binding of a system call shares: the checks that koffi does not make, and errno as an error. Only the
 * files of this directory and `syscall.ts` know koffi.
 */
import koffi, { type LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { errnoError } from "../errno.ts";
import { createSlots } from "../slots.ts";

/** A function of the C library, as koffi binds it. */
export type LibraryFunction = ReturnType<LibraryHandle["func"]>;
type Async = (...args: unknown[]) => Promise<number>;

/** koffi refuses more than 256 at once, and four threads serve them: the rest waits here, in turn. */
const slots = createSlots(64);

/** Throws `bug` for anything but whole numbers of 32 bits: a fraction would be cut and mean another descriptor. */
export function requireInteger(op: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) continue;
    throw new TrivetError({
      kind: "bug",
      op,
      subject: name,
      message: `${op}: ${name} is no number: ${value}`,
    });
  }
}

/** Throws `invalid` for a text that C would end early, at a NUL byte. */
export function requireText(op: string, values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === "string" && !value.includes("\0")) continue;
    throw new TrivetError({ kind: "invalid", op, subject: name, message: `${op}: ${name} holds a NUL byte` });
  }
}

/** A koffi function as a promise that rejects with the call's own errno. */
export function asynchronous(
  fn: LibraryFunction,
  op: string,
): (subject: string, ...args: unknown[]) => Promise<number> {
  const call: Async = (...args) =>
    new Promise((resolve, reject) => {
      // The errno belongs to the thread that made the call; koffi hands it over inside this callback.
      fn.async(...args, (error: unknown, result: number) => {
        if (error) reject(error);
        else resolve(result === -1 ? -koffi.errno() : result);
        // koffi holds this callback until the call is over, but none of the buffers that the kernel works on: it does.
        args.length = 0;
      });
    });
  return async (subject, ...args) => {
    const result = await slots.run(() => call(...args));
    if (result < 0) throw errnoError(-result, op, subject);
    return result;
  };
}

/** The result of a synchronous call; throws its errno. Nothing may run on this thread in between. */
export function checked(op: string, subject: string, result: number): number {
  if (result < 0) throw errnoError(koffi.errno(), op, subject);
  return result;
}
