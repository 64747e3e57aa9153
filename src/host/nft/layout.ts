/**
 * The rule set of Trivet's table: two parts, each a list of sets, chains and rules that never change with pods. Masquerade
 * is alone in its part, so that it works on kernels without what host ports need (nft_fib_inet, nft_nat, nft_ct).
 */
import type { NetlinkMessage } from "../netlink/codec.ts";
import {
  drop,
  type Expression,
  isEqual,
  isIn,
  isNotIn,
  isOther,
  jump,
  keepBits,
  linkNameBytes,
  loadDestinationPort,
  loadInputLink,
  loadNetwork,
  loadOutputLink,
  loadProtocol,
  lookUp,
  masquerade,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  ofFamily,
  redirect,
  toThisHost,
  wasRedirected,
} from "./expressions.ts";
import {
  type ChainShape,
  flushChain,
  newChain,
  newRule,
  newSet,
  newTable,
  type RuleShape,
  type SetShape,
} from "./messages.ts";

/** Masquerade of pod networks; and host ports, with what hairpin and localhost need. */
export type RulePart = "masquerade" | "ports";

/** Where the fields of each family are, and what its parts of the table are called. */
export const families = {
  4: {
    nfproto: NFPROTO_IPV4,
    bytes: 4,
    type: 7,
    source: 12,
    destination: 16,
    networks: "pod_cidrs4",
    cluster: "cluster_cidrs4",
    ports: "ports4",
    addressPorts: "ip_ports4",
    hairpin: "hairpin4",
  },
  6: {
    nfproto: NFPROTO_IPV6,
    bytes: 16,
    type: 8,
    source: 8,
    destination: 24,
    networks: "pod_cidrs6",
    cluster: "cluster_cidrs6",
    ports: "ports6",
    addressPorts: "ip_ports6",
    hairpin: "hairpin6",
  },
} as const;

/** IP version. */
export type Family = keyof typeof families;
export const allFamilies: readonly Family[] = [4, 6];

/** Bridges: pairs of one name with itself, as packets come in and go out by it. */
export const bridgeSet = "bridges";

const TYPE_INET_PROTOCOL = 12;
const TYPE_INET_SERVICE = 13;
const TYPE_IFNAME = 41;
const REGISTER_BYTES = 4;
/** The nft program writes a type of several columns as six bits each. */
const columns = (...types: number[]): number => types.reduce((sum, type) => (sum << 6) | type, 0);

function setsOf(part: RulePart): SetShape[] {
  const each = allFamilies.map((family) => families[family]);
  if (part === "masquerade") {
    return each.flatMap(({ networks, cluster, type, bytes }) =>
      [networks, cluster].map((name) => ({ name, key: { type, bytes }, interval: true })),
    );
  }
  const perFamily = each.flatMap(({ type, bytes, ports, addressPorts, hairpin }): SetShape[] => {
    const value = { type: columns(type, TYPE_INET_SERVICE), bytes: bytes + REGISTER_BYTES };
    const port = columns(TYPE_INET_PROTOCOL, TYPE_INET_SERVICE);
    const addressPort = columns(type, TYPE_INET_PROTOCOL, TYPE_INET_SERVICE);
    return [
      { name: ports, key: { type: port, bytes: 2 * REGISTER_BYTES }, value },
      { name: addressPorts, key: { type: addressPort, bytes: bytes + 2 * REGISTER_BYTES }, value },
      { name: hairpin, key: { type: columns(type, type), bytes: 2 * bytes } },
    ];
  });
  return [...perFamily, { name: bridgeSet, key: { type: columns(TYPE_IFNAME, TYPE_IFNAME), bytes: 2 * 16 } }];
}

const hooks = { prerouting: 0, output: 3, postrouting: 4 } as const;
const PRIORITY_RAW = -300;
const PRIORITY_DNAT = -100;
const PRIORITY_SNAT = 100;

const chains: Readonly<Record<RulePart, readonly ChainShape[]>> = {
  masquerade: [
    { name: "postrouting", hook: { type: "nat", number: hooks.postrouting, priority: PRIORITY_SNAT } },
  ],
  ports: [
    { name: "guard", hook: { type: "filter", number: hooks.prerouting, priority: PRIORITY_RAW } },
    { name: "host_ports" },
    { name: "prerouting", hook: { type: "nat", number: hooks.prerouting, priority: PRIORITY_DNAT } },
    { name: "output", hook: { type: "nat", number: hooks.output, priority: PRIORITY_DNAT } },
    { name: "hairpin", hook: { type: "nat", number: hooks.postrouting, priority: PRIORITY_SNAT - 1 } },
  ],
};

/** Kept with every rule. Whoever changes a rule raises the number, so that an older one is replaced. */
const VERSION = "trivet 3";

const multicast = {
  4: [keepBits(Uint8Array.of(0xf0, 0, 0, 0)), isOther(Uint8Array.of(0xe0, 0, 0, 0))],
  6: [
    keepBits(Uint8Array.of(0xff, ...new Uint8Array(15))),
    isOther(Uint8Array.of(0xff, ...new Uint8Array(15))),
  ],
} as const;

/** From a pod network of this node, to no pod network of any node, and not to a multicast group. */
function masqueradeRule(family: Family): RuleShape {
  const { nfproto, bytes, source, destination, networks, cluster } = families[family];
  const loadDestination = loadNetwork({ offset: destination, length: bytes });
  return {
    chain: "postrouting",
    tag: `${VERSION}: masquerade IPv${family}`,
    expressions: [
      ...ofFamily(nfproto),
      loadNetwork({ offset: source, length: bytes }),
      isIn(networks),
      loadDestination,
      isNotIn(networks),
      loadDestination,
      isNotIn(cluster),
      loadDestination,
      ...multicast[family],
      masquerade(),
    ],
  };
}

const loopback6 = Uint8Array.of(...new Uint8Array(15), 1);

/**
 * Not for `::1`: the kernel lets no packet with that source out of the loopback interface, and has no switch for it as
 * route_localnet is one for IPv4.
 */
function redirectRules(family: Family): RuleShape[] {
  const { nfproto, bytes, destination, ports, addressPorts } = families[family];
  const afterAddress = bytes / REGISTER_BYTES;
  const loadDestination = loadNetwork({ offset: destination, length: bytes });
  const guarded: Expression[] = [
    ...ofFamily(nfproto),
    ...(family === 6 ? [loadDestination, isOther(loopback6)] : []),
  ];
  const toPod = redirect(nfproto, afterAddress);
  return [
    {
      chain: "host_ports",
      tag: `${VERSION}: ports of one IPv${family} address`,
      expressions: [
        ...guarded,
        loadDestination,
        loadProtocol(afterAddress),
        loadDestinationPort(afterAddress + 1),
        lookUp(addressPorts),
        toPod,
      ],
    },
    {
      chain: "host_ports",
      tag: `${VERSION}: ports of every IPv${family} address`,
      expressions: [...guarded, loadProtocol(0), loadDestinationPort(1), lookUp(ports), toPod],
    },
  ];
}

/** A pod that reaches itself through its host port would otherwise see its own address as the source, and drop it. */
function hairpinRule(family: Family): RuleShape {
  const { nfproto, bytes, source, hairpin } = families[family];
  const expressions = [
    ...ofFamily(nfproto),
    // Source and destination are neighbours in both headers.
    loadNetwork({ offset: source, length: bytes }),
    loadNetwork({ offset: source + bytes, length: bytes, place: bytes / REGISTER_BYTES }),
    isIn(hairpin),
    masquerade(),
  ];
  return { chain: "hairpin", tag: `${VERSION}: a pod to its own port, IPv${family}`, expressions };
}

const notLoopbackLink = isOther(linkNameBytes("lo"));
const inLoopbackNetwork = (offset: number): Expression[] => [
  ...ofFamily(NFPROTO_IPV4),
  loadNetwork({ offset, length: 1 }),
  isEqual(Uint8Array.of(127)),
];

/**
 * 127.0.0.1 of the host reaches host ports because route_localnet is switched on for the links of such pods. That alone
 * would let the pods reach whatever listens on 127.0.0.1 of the host (CVE-2020-8558), so no packet from or to there may come
 * in by any other interface than lo. It is looked at before connection tracking gives answers their address back.
 */
function guardRules(): RuleShape[] {
  const { source, destination } = families[4];
  return (
    [
      ["from", source],
      ["to", destination],
    ] as const
  ).map(([word, offset]) => ({
    chain: "guard",
    tag: `${VERSION}: nothing comes in ${word} the loopback network`,
    expressions: [loadInputLink(0), notLoopbackLink, ...inLoopbackNetwork(offset), drop()],
  }));
}

function portRules(): RuleShape[] {
  const call = (chain: string): RuleShape => ({
    chain,
    tag: `${VERSION}: to this host`,
    expressions: [...toThisHost(), jump("host_ports")],
  });
  return [
    ...guardRules(),
    ...allFamilies.flatMap(redirectRules),
    call("prerouting"),
    call("output"),
    {
      chain: "hairpin",
      tag: `${VERSION}: this host by its loopback address to a pod`,
      expressions: [
        ...inLoopbackNetwork(families[4].source),
        loadOutputLink(0),
        notLoopbackLink,
        ...wasRedirected(),
        masquerade(),
      ],
    },
    ...allFamilies.map(hairpinRule),
    {
      // Where the kernel does not pass bridged packets through these hooks, the answer would take the short way, past the
      // translation; where it does (br_netfilter), such packets come here without an input link, and keep their source.
      chain: "hairpin",
      tag: `${VERSION}: a pod to another one on its bridge`,
      expressions: [...wasRedirected(), loadInputLink(0), loadOutputLink(4), isIn(bridgeSet), masquerade()],
    },
  ];
}

const rules: Readonly<Record<RulePart, readonly RuleShape[]>> = {
  masquerade: allFamilies.map(masqueradeRule),
  ports: portRules(),
};

/** Sets are told apart by number within one transaction, which may install both parts. */
const firstId = { masquerade: 1, ports: 101 } as const;

/** All that makes a part, whatever of it is there. Its chains are emptied first, which makes it repeatable. */
export function installPart(table: string, part: RulePart): NetlinkMessage[] {
  return [
    newTable(table),
    ...setsOf(part).map((set, index) => newSet(table, set, firstId[part] + index)),
    ...chains[part].map((chain) => newChain(table, chain)),
    ...chains[part].map(({ name }) => flushChain(table, name)),
    ...rules[part].map((rule) => newRule(table, rule)),
  ];
}

/** The parts of which every rule is among these. */
export function installedParts(
  found: readonly { readonly chain: string; readonly tag: string }[],
): RulePart[] {
  const present = new Set(found.map(({ chain, tag }) => `${chain} ${tag}`));
  const parts = ["masquerade", "ports"] as const;
  return parts.filter((part) => rules[part].every(({ chain, tag }) => present.has(`${chain} ${tag}`)));
}
