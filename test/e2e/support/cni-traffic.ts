/** Servers and questions over TCP and UDP inside the namespaces of a `World`, of both address families. */
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
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
const ask = ({ protocol, address, port, localPort = 0, waitMs = 5000 }) => new Promise((resolve) => {
  let text = "";
  const tcp = protocol === "tcp";
  const socket = tcp
    ? require("net").connect({ host: address, port })
    : require("dgram").createSocket(address.includes(":") ? "udp6" : "udp4");
  const end = (answer) => { clearTimeout(timer); resolve(answer); if (tcp) socket.destroy(); else socket.close(); };
  const timer = setTimeout(() => end(""), waitMs);
  socket.on("error", () => end(""));
  if (tcp) {
    socket.on("data", (chunk) => { text += chunk; });
    socket.on("close", () => end(text));
    return;
  }
  socket.on("message", (message) => end(String(message)));
  socket.bind(localPort, () => socket.send("?", port, address));
});
Promise.all(JSON.parse(process.argv[1]).map(ask)).then((answers) => console.log(JSON.stringify(answers)));`;

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
  return askAll(world, part, [question])[0] ?? "";
}

/** The answers, in order: one process for all of them, which asks at once. */
export function askAll(world: World, part: string, questions: readonly Question[]): string[] {
  const argv = ["netns", "exec", world.name(part), process.execPath, "-e", clientProgram];
  return JSON.parse(
    execFileSync("ip", [...argv, JSON.stringify(questions)], { encoding: "utf8" }),
  ) as string[];
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

/** Sends an SCTP INIT, since hardly any kernel is built with sockets for it; its checksum is that of RFC 9260, Appendix A. */
const sctpClientProgram = `
use Socket qw(:DEFAULT :all);
my ($address, $port) = @ARGV;
my $init = pack("CCnNNnnN", 1, 0, 20, 1, 65536, 1, 1, 1);
my $head = pack("nnN", 40000, $port, 0);
my $sum = 0xffffffff;
for my $byte (unpack("C*", $head . pack("N", 0) . $init)) {
  $sum ^= $byte;
  $sum = $sum & 1 ? ($sum >> 1) ^ 0x82f63b78 : $sum >> 1 for 1 .. 8;
}
socket(my $socket, PF_INET, SOCK_RAW, 132) or die "socket: $!";
send($socket, $head . pack("V", $sum ^ 0xffffffff) . $init, 0, pack_sockaddr_in(0, inet_aton($address))) or die "send: $!";`;

const sctpServerProgram = `
use Socket qw(:DEFAULT :all);
$| = 1;
socket(my $socket, PF_INET, SOCK_RAW, 132) or die "socket: $!";
print "ready\\n";
recv($socket, my $packet, 2048, 0);
my $header = (unpack("C", $packet) & 15) * 4;
my $source = inet_ntoa(substr($packet, 12, 4));
print join(" ", $source, unpack("n", substr($packet, $header + 2, 2))), "\\n";`;

/** What a pod sees of an SCTP packet that is sent to a port of the host: its source, and the port that it comes to. */
export async function sctpArrival(
  world: World,
  { from, to, address, port }: { from: string; to: string; address: string; port: number },
): Promise<string> {
  const server = spawn("ip", ["netns", "exec", world.name(to), "perl", "-e", sctpServerProgram], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
    await lines.next(); // it listens
    world.exec(from, "perl", "-e", sctpClientProgram, address, String(port));
    return String((await lines.next()).value);
  } finally {
    server.kill();
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
