/**
 * The static table of HPACK (RFC 7541, appendix A) and the index of its first entries by name.
 * Data only; index 0 is not an entry.
 */

/** `[name, value]` by index, 1 to 61. */
export const staticTable: readonly (readonly [name: string, value: string])[] = [
  ["", ""],
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

/** The first index that belongs to the dynamic table. */
export const FIRST_DYNAMIC_INDEX = staticTable.length;

/** The lowest index of each name, and of each name with its value (joined by a NUL, which no header holds). */
export const staticNames: ReadonlyMap<string, number> = index(([name]) => name);
export const staticFields: ReadonlyMap<string, number> = index(([name, value]) => `${name}\0${value}`);

function index(key: (entry: readonly [string, string]) => string): Map<string, number> {
  const found = new Map<string, number>();
  staticTable.forEach((entry, at) => {
    if (at > 0 && !found.has(key(entry))) found.set(key(entry), at);
  });
  return found;
}
