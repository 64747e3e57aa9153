/** A network for the demo's pods that this machine does not use. Pure. */
const candidates = Array.from({ length: 64 }, (_, index) => `10.${190 + index}.7.0/24`);

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The destinations of /proc/net/route: addresses and masks as hexadecimal numbers in the host's byte order. */
function parseRoutes(table: string): { base: number; mask: number }[] {
  const reversed = (hex: string) => Number.parseInt(hex.match(/../g)?.reverse().join("") ?? "", 16);
  return table
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"))
    .filter((fields) => fields.length > 7)
    .map((fields) => ({ base: reversed(fields[1] ?? ""), mask: reversed(fields[7] ?? "") }))
    .filter(({ mask }) => mask !== 0);
}

/** The first candidate that no route leads into; undefined if there is none. */
export function freeSubnet(routeTable: string): string | undefined {
  const routes = parseRoutes(routeTable);
  const mask24 = 0xffff_ff00;
  return candidates.find((candidate) => {
    const base = toNumber(candidate.split("/")[0] ?? "");
    return routes.every(({ base: taken, mask }) => {
      const common = (mask & mask24) >>> 0;
      return (taken & common) >>> 0 !== (base & common) >>> 0;
    });
  });
}
