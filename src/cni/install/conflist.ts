/** The conflist that `trivet install cni` writes. Decides only; who writes it is `files.ts`. */
import { ownIpamType } from "../protocol/ipam-config.ts";

/** What a user chooses; all else is as the plugin's own defaults have it. */
export interface ConflistChoices {
  readonly name: string;
  /** Address ranges in CIDR form, each family a set of its own. None: the node's podCIDRs. */
  readonly subnets: readonly string[];
  readonly mode?: "routed" | "bridge" | undefined;
  readonly mtu?: number | undefined;
  readonly masquerade: boolean;
  /** Where it is not the default one. */
  readonly socket?: string | undefined;
  readonly stateDir?: string | undefined;
}

/** containerd takes the first file by name; other installers leave the low numbers to it. */
export const conflistName = "10-trivet.conflist";

/**
 * Its bytes: the same for the same choices. `cniVersions` is read by libcni from 1.2 on and gives it GC and STATUS; older ones take
 * `cniVersion`, and would not start with 1.1.0 there.
 */
export function encodeConflist(choices: ConflistChoices): string {
  const { name, subnets, mode, mtu, masquerade, socket, stateDir } = choices;
  const sets = ["v4", "v6"].map((family) =>
    subnets.filter((cidr) => cidr.includes(":") === (family === "v6")),
  );
  const ranges = sets.filter((set) => set.length > 0).map((set) => set.map((subnet) => ({ subnet })));
  const plugin = {
    type: ownIpamType,
    ...(mode && { mode }),
    ...(mtu !== undefined && { mtu }),
    ipMasq: masquerade,
    ...(socket && { socket }),
    ...(stateDir && { stateDir }),
    capabilities: { portMappings: true },
    ipam: ranges.length > 0 ? { ranges } : { source: "podCIDRs" },
  };
  const versions = { cniVersion: "1.0.0", cniVersions: ["0.4.0", "1.0.0", "1.1.0"] };
  return `${JSON.stringify({ ...versions, name, plugins: [plugin] }, null, 2)}\n`;
}
