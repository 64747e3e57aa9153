/** The kinds of value that settings have. Each turns text into its parsed form, or says what it should look like. */
import { isIP } from "node:net";
import { normalize } from "node:path";
import * as v from "valibot";
import { maxSocketPathBytes, parseUnixAddress } from "../host/unix-socket.ts";
import { logLevels } from "../observe/log.ts";

export const text = v.string("must be text");

/** A unix socket address, as its path: in one form, so that two settings that mean the same are seen to. */
export const unixAddress = v.pipe(
  text,
  v.check((value) => parseUnixAddress(value) !== undefined, "must be a socket such as unix:///run/x.sock"),
  v.transform((value) => normalize(parseUnixAddress(value) ?? value)),
  v.check(
    (path) => Buffer.byteLength(path) <= maxSocketPathBytes,
    `must not be longer than ${maxSocketPathBytes} bytes: the system takes no longer socket path`,
  ),
);

export const absolutePath = v.pipe(
  text,
  v.check((value) => value.startsWith("/") && !value.includes("\0"), "must be an absolute path"),
);

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

function parseTcpAddress(value: string): TcpAddress | undefined {
  const found = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(found?.[3]);
  if (!found || port > 65_535) return undefined;
  const host = found[1] ?? found[2] ?? "";
  return found[1] !== undefined && isIP(host) !== 6 ? undefined : { host, port };
}

export function formatTcpAddress({ host, port }: TcpAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `HOST:PORT`; an IPv6 address goes in brackets. */
export const tcpAddress = v.pipe(
  text,
  v.check((value) => parseTcpAddress(value) !== undefined, "must be HOST:PORT, such as 127.0.0.1:9808"),
  v.transform((value) => parseTcpAddress(value) as TcpAddress),
);

export const logLevel = v.picklist(logLevels, `must be one of ${logLevels.join(", ")}`);

/** Seconds, as a number or as text from a flag; in milliseconds afterwards. */
export const seconds = v.pipe(
  v.union(
    [v.number(), v.pipe(text, v.regex(/^\d+(\.\d+)?$/), v.transform(Number))],
    "must be a number of seconds",
  ),
  v.check((value) => value >= 0 && value <= 86_400, "must be between 0 and 86400 seconds"),
  v.transform((value) => Math.round(value * 1000)),
);

/** A whole number, as such or as text from a flag. */
export function wholeNumber({ min, max }: { readonly min: number; readonly max: number }) {
  return v.pipe(
    v.union([v.number(), v.pipe(text, v.regex(/^\d{1,15}$/), v.transform(Number))], "must be a whole number"),
    v.check(
      (value) => Number.isInteger(value) && value >= min && value <= max,
      `must be a whole number between ${min} and ${max}`,
    ),
  );
}

export const yesNo = v.boolean("must be true or false");
