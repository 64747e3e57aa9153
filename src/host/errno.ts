/** The only place where an errno becomes an error kind. Names and numbers are the kernel's (errno(3)). */
import { constants } from "node:os";
import { type Kind, TrivetError } from "../errors.ts";

// Node's table lacks EDQUOT on Linux, which ext4 answers at a project quota.
const EDQUOT = 122;

const kindByName: Readonly<Record<string, Kind>> = {
  ENOENT: "not-found",
  ESRCH: "not-found",
  ENODEV: "not-found",
  ENXIO: "not-found",
  EEXIST: "conflict",
  ENOTEMPTY: "conflict",
  EBUSY: "precondition",
  EAGAIN: "busy",
  ENOSPC: "exhausted",
  EDQUOT: "exhausted",
  ENOMEM: "exhausted",
  EMFILE: "exhausted",
  ENFILE: "exhausted",
  ETIMEDOUT: "deadline",
  ECONNREFUSED: "unavailable",
  ECONNRESET: "unavailable",
  EPIPE: "unavailable",
  ECANCELED: "cancelled",
  EOPNOTSUPP: "unsupported",
  EAFNOSUPPORT: "unsupported",
  EPROTONOSUPPORT: "unsupported",
  ENOSYS: "unsupported",
};

const nameByNumber = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);
nameByNumber.set(EDQUOT, "EDQUOT");
// EWOULDBLOCK and EAGAIN are one number; so are ENOTSUP and EOPNOTSUPP. Keep the name that the map above uses.
nameByNumber.set(constants.errno.EAGAIN, "EAGAIN");
nameByNumber.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");

/** `ENOENT` for 2, and so on; `errno 9999` for a number that has no name. */
export function errnoName(errno: number): string {
  return nameByNumber.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`;
}

/** An error of the kind that `errno` (a positive number or a name) stands for. */
export function errnoError(
  errno: number | string,
  op: string,
  subject: string,
  cause?: unknown,
): TrivetError {
  const name = typeof errno === "string" ? errno : errnoName(errno);
  const kind = kindByName[name] ?? "io";
  return new TrivetError({ kind, op, subject, message: `${op} failed on ${subject}: ${name}`, cause });
}

/** An error of Node's own `fs`, `net` or `child_process` as ours. What carries no errno is a bug. */
export function fromNodeError(error: unknown, op: string, subject: string): TrivetError {
  if (error instanceof TrivetError) return error;
  const { errno, code } = error as NodeJS.ErrnoException;
  // Node calls an errno that it has no name for "Unknown system error": the number is right all the same.
  const named = typeof errno === "number" && nameByNumber.has(Math.abs(errno));
  if (named || (typeof errno === "number" && code === undefined))
    return errnoError(errno, op, subject, error);
  if (typeof code === "string") return errnoError(code, op, subject, error);
  const text = error instanceof Error ? error.message : String(error);
  return new TrivetError({
    kind: "bug",
    op,
    subject,
    message: `${op} failed on ${subject}: ${text}`,
    cause: error,
  });
}
