/** What the records of pods say of rules: for making lost rules again, and for telling whose a host port is. */
import type { HostPort, Nft } from "../../host/nft.ts";
import type { CniDeps } from "../deps.ts";
import type { AttachmentRecord } from "../state/attachments.ts";
import { listAttachments } from "../state/list-attachments.ts";
import type { AttachmentKey } from "../state/paths.ts";
import { portsOfRecord } from "./host-ports.ts";
import { ruleTable } from "./rule-table.ts";

/** All that attached pods need. */
export interface Recorded {
  /** As CIDRs, each once. */
  readonly networks: readonly string[];
  readonly ports: readonly HostPort[];
  readonly bridges: readonly string[];
  /** The records, but for that of the asking attachment. */
  readonly others: readonly AttachmentRecord[];
}

interface Asking {
  readonly stateDir: string;
  /** Undefined: every record counts. */
  readonly key?: AttachmentKey | undefined;
}

/** Of committed records only: a pending one's ADD installs its own. */
export async function readRecorded(
  deps: Pick<CniDeps, "files" | "bootId">,
  { stateDir, key }: Asking,
): Promise<Recorded> {
  const others = (await listAttachments(deps, stateDir)).filter((record) => !isSame(record, key));
  const committed = others.filter(({ state }) => state === "committed");
  const withPorts = committed.filter(({ ports = [] }) => ports.length > 0);
  return {
    networks: [...new Set(committed.flatMap(({ masquerade = [] }) => masquerade))],
    ports: withPorts.flatMap((record) => portsOfRecord(record)),
    bridges: [...new Set(withPorts.flatMap(({ bridge }) => bridge ?? []))],
    others,
  };
}

function isSame(record: AttachmentKey, key: AttachmentKey | undefined): boolean {
  return (
    record.network === key?.network && record.containerId === key.containerId && record.ifname === key.ifname
  );
}

/** Elements that should be there and are not. */
export interface Missing {
  readonly ports: readonly HostPort[];
  readonly hairpins: readonly string[];
  readonly bridges: readonly string[];
}

/** Compares with what the table holds. A port that leads elsewhere is left to CHECK, which tells of it. */
export async function missingPorts(
  nft: Nft,
  recorded: Pick<Recorded, "ports" | "bridges">,
): Promise<Missing> {
  if (recorded.ports.length === 0) return { ports: [], hairpins: [], bridges: [] };
  const present = await nft.readPorts(ruleTable);
  const claimed = new Set(present.ports.map(claimOf));
  const addresses = new Set(recorded.ports.map(({ podAddress }) => podAddress));
  return {
    ports: recorded.ports.filter((port) => !claimed.has(claimOf(port))),
    hairpins: [...addresses].filter((address) => !present.hairpins.includes(address)),
    bridges: recorded.bridges.filter((name) => !present.bridges.includes(name)),
  };
}

function claimOf({ family, protocol, hostPort, hostIp }: HostPort): string {
  return `${family} ${protocol} ${hostPort} ${hostIp ?? ""}`;
}
