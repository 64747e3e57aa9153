/**
 * Any plugin binary on a node of its own: a network namespace in which the plugin runs, so that nothing of the machine's own
 * network is touched. Needs root, and the programs `ip` and, to see rules, `nft`.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Json, Outcome, Pod, PodLink, Subject } from "./rule.ts";

export interface ProcessSubjectOptions {
  /** The plugin's program. */
  readonly plugin: string;
  readonly conf: Json;
  /** Where it finds its delegates; its own directory by default. */
  readonly cniPath?: string | undefined;
  /** Runs in this network namespace instead of a fresh one; for a plugin whose daemon is there. */
  readonly node?: string | undefined;
}

export interface ProcessSubject extends Subject {
  /** The namespace that is the node. */
  readonly node: string;
  destroy(): void;
}

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** A plugin that takes longer is taken for hanging. */
const CALL_TIMEOUT_MS = 120_000;

export function createProcessSubject({ plugin, conf, cniPath, node }: ProcessSubjectOptions): ProcessSubject {
  const unique = `conf-${process.pid}-${Date.now() % 1_000_000}`;
  const scratch = mkdtempSync(join(tmpdir(), "cni-conformance-"));
  const own = node === undefined;
  const name = node ?? `${unique}-node`;
  if (own) createNode(name);
  const namespaces = new Set<string>();
  let pods = 0;
  const subject: ProcessSubject = {
    conf,
    cniPath: cniPath ?? dirname(plugin),
    scratch,
    node: name,
    call: (env, stdin) => callPlugin(["ip", "netns", "exec", name, plugin], env, stdin),
    async pod() {
      const id = `${unique}-${pods++}`;
      run("ip", "netns", "add", id);
      namespaces.add(id);
      return namespacePod(id, namespaces);
    },
    traces: async () => tracesOf(name),
    destroy() {
      for (const id of namespaces) run("ip", "netns", "del", id);
      if (own) run("ip", "netns", "del", name);
      rmSync(scratch, { recursive: true });
    },
  };
  return subject;
}

/** With an uplink, since plugins look for the default route. */
function createNode(name: string): void {
  run("ip", "netns", "add", name);
  const inside = (...args: string[]) => run("ip", "-n", name, ...args);
  inside("link", "set", "lo", "up");
  inside("link", "add", "up0", "type", "veth", "peer", "name", "far0");
  for (const link of ["up0", "far0"]) inside("link", "set", link, "up");
  inside("address", "add", "198.51.100.1/24", "dev", "up0");
  inside("route", "add", "default", "via", "198.51.100.2");
}

function callPlugin(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
): Promise<Outcome> {
  const [program = "", ...args] = argv;
  const variables = { PATH: process.env.PATH, ...env };
  const child = spawn(program, args, {
    env: variables,
    stdio: ["pipe", "pipe", "ignore"],
    timeout: CALL_TIMEOUT_MS,
  });
  let stdout = "";
  child.stdout.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stdin.on("error", () => undefined); // it may end without reading
  child.stdin.end(stdin);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ exitCode: code ?? 255, stdout }));
  });
}

interface IpLink {
  readonly ifname: string;
  readonly address?: string;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
  }[];
}

function namespacePod(id: string, namespaces: Set<string>): Pod {
  const netns = `/run/netns/${id}`;
  return {
    id,
    netns,
    async links() {
      const found = JSON.parse(run("ip", "-n", id, "-j", "address", "show")) as IpLink[];
      return found.map(describeLink);
    },
    occupy: async (name) =>
      void run("ip", "-n", id, "link", "add", name, "type", "veth", "peer", "name", `far-${name}`),
    removeLink: async (name) => void run("ip", "-n", id, "link", "del", name),
    removeAddress: async (link, cidr) => void run("ip", "-n", id, "address", "del", cidr, "dev", link),
    async remove(remains) {
      if (namespaces.delete(id)) run("ip", "netns", "del", id);
      if (remains === "plain-file") writeFileSync(netns, "");
      else rmSync(netns, { force: true });
    },
  };
}

function describeLink({ ifname, address = "", flags = [], addr_info = [] }: IpLink): PodLink {
  const addresses = addr_info
    .filter(({ scope }) => scope !== "link")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  // Of the loopback only that it is there: some plugins bring it up, and others leave that to another.
  if (ifname === "lo") return { name: ifname, up: true, mac: address, addresses: [] };
  return { name: ifname, up: flags.includes("UP"), mac: address, addresses };
}

/** Numbers that the kernel gives out anew each time are left out. */
function tracesOf(node: string): string[] {
  const inside = (...argv: string[]) => run("ip", "netns", "exec", node, ...argv).split("\n");
  const links = inside("ip", "-o", "link").map((line) => line.replace(/^\d+: ([^:@]+).*/, "link $1"));
  const routes = ["-4", "-6"].flatMap((family) =>
    inside("ip", family, "route").map((line) => `route ${line.replace(" linkdown", "")}`),
  );
  let rules: string[] = [];
  try {
    rules = inside("nft", "-s", "list", "ruleset").map((line) => `nft ${line.trim()}`);
  } catch {
    // There is no nft here: links and routes have to do.
  }
  // The kernel's own multicast and link-local routes come and go with a delay.
  return [...links, ...routes, ...rules]
    .filter((line) => line.trim() !== "" && !/fe80::|^route $|ff00::/.test(line))
    .sort();
}
