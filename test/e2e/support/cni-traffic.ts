/** Servers and questions over TCP and UDP inside the namespaces of a `World`, of both address families. */
import { execFileSync, spawn } from "node:child_process";
import type { CniAnswer, World } from "./cni-world.ts";

export type Transport = "tcp" | "udp";

export interface Server {
  /** The addresses from which it was asked, in order, IPv4 in its own form. */
  readonly clients: string[];
  stop(): Promise<void>;
}

const serverProgram = `
const [protocol, port, name] = process.argv.slice(1);
const told = (address) => console.log(address.replace(/^::ffff:/, ""));
if (protocol === "tcp") {
  require("net").createServer((socket) => {
    socket.on("error", () => undefined);
    told(socket.remoteAddress);
    socket.end(name);
  }).listen(port, "::", () => console.log("ready"));
} else {
  const socket = require("dgram").createSocket("udp6");
  socket.on("message", (_, from) => { told(from.address); socket.send(name, from.port, from.address); });
  socket.bind(port, "::", () => console.log("ready"));
}`;

const clientProgram = `
const [protocol, address, port, localPort, waitMs] = process.argv.slice(1);
const end = (text) => { console.log(text); process.exit(0); };
setTimeout(() => end(""), Number(waitMs));
if (protocol === "tcp") {
  let text = "";
  const socket = require("net").connect({ host: address, port: Number(port) });
  socket.on("data", (chunk) => { text += chunk; });
  socket.on("error", () => end(""));
  socket.on("close", () => end(text));
} else {
  const socket = require("dgram").createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.on("message", (message) => end(String(message)));
  socket.on("error", () => end(""));
  socket.bind(Number(localPort), () => socket.send("?", Number(port), address));
}`;

/** Answers everybody with `name`. */
export async function listen(
  world: World,
  part: string,
  { protocol, port, name = part }: { protocol: Transport; port: number; name?: string },
): Promise<Server> {
  const argv = ["netns", "exec", world.name(part), process.execPath, "-e", serverProgram];
  const server = spawn("ip", [...argv, protocol, String(port), name], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const clients: string[] = [];
  await new Promise<void>((resolve, reject) => {
    server.once("exit", (code) => reject(new Error(`the server ended with code ${code}`)));
    server.stdout.on("data", (chunk: Buffer) => {
      for (const line of chunk.toString().trim().split("\n")) {
        if (line === "ready") resolve();
        else clients.push(line);
      }
    });
  });
  server.removeAllListeners("exit");
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  return {
    clients,
    stop: () => {
      server.kill();
      return ended;
    },
  };
}

interface Question {
  readonly protocol: Transport;
  readonly address: string;
  readonly port: number;
  /** Of UDP. */
  readonly localPort?: number;
  /** For an answer that is not to come. */
  readonly waitMs?: number;
}

/** The answer; empty if there is none. */
export function ask(world: World, part: string, question: Question): string {
  const { protocol, address, port, localPort = 0, waitMs = 5_000 } = question;
  const argv = ["netns", "exec", world.name(part), process.execPath, "-e", clientProgram];
  const told = [protocol, address, port, localPort, waitMs].map(String);
  return execFileSync("ip", [...argv, ...told], { encoding: "utf8" }).trim();
}

/** Perl is in every Debian, and can forbid that a packet is broken up, which Node cannot. */
const wholePacketProgram = `
use Socket qw(:DEFAULT :all);
my ($address, $port, $bytes) = @ARGV;
my $six = $address =~ /:/;
my $to = $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $address)) : pack_sockaddr_in($port, inet_aton($address));
socket(my $socket, $six ? PF_INET6 : PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
setsockopt($socket, $six ? 41 : 0, $six ? 23 : 10, pack("i", 2)) or die "setsockopt: $!";
send($socket, "x" x $bytes, 0, $to) or exit 1;
my $bits = ""; vec($bits, fileno($socket), 1) = 1;
exit(select($bits, undef, undef, 3) > 0 ? 0 : 1);`;

/** Whether a UDP packet of exactly this size in all gets to a server and is answered, without being broken up. */
export function passesWhole(
  world: World,
  part: string,
  { address, port, size }: { address: string; port: number; size: number },
): boolean {
  const headers = address.includes(":") ? 48 : 28;
  try {
    world.exec(part, "perl", "-e", wholePacketProgram, address, String(port), String(size - headers));
    return true;
  } catch {
    return false;
  }
}

/** Both addresses of an ADD's result, without prefix length. */
export function addressesIn({ stdout, exitCode }: CniAnswer): { four: string; six: string } {
  if (exitCode !== 0) throw new Error(`ADD failed: ${stdout}`);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  const all = ips.map(({ address }) => address.replace(/\/.*/, ""));
  return {
    four: all.find((address) => address.includes(".")) ?? "",
    six: all.find((address) => address.includes(":")) ?? "",
  };
}

/** Gives the uplink IPv6 addresses, and the node a default route through it. */
export function addIpv6Uplink(world: World): { node: string; outside: string } {
  const addresses = { node: "2001:db8:51::1", outside: "2001:db8:51::2" };
  for (const [part, address] of [
    ["node", addresses.node],
    ["out", addresses.outside],
  ] as const) {
    world.exec(part, "ip", "address", "add", `${address}/64`, "dev", "up0", "nodad");
  }
  world.exec("node", "ip", "-6", "route", "add", "default", "via", addresses.outside);
  return addresses;
}
