/** The CNI_* variables of a call (SPEC.md, "CNI operations"), checked all together: one message names every problem. */
import { TrivetError } from "../../errors.ts";
import { type AddressArgs, parseArgs } from "./args.ts";

/** As `process.env` has it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The operations of the versions that we advertise. */
export const commands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
/** CNI_COMMAND, once it is known to be one of ours. */
export type Command = (typeof commands)[number];

/** The pod behind an attachment, as far as the runtime says it. Empty texts where it does not. */
export interface PodIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What identifies an attachment, with the network's name. */
export interface ContainerInterface {
  readonly containerId: string;
  readonly ifname: string;
}

/** The variables of one call, checked. */
export interface AttachmentCall extends ContainerInterface {
  readonly command: "ADD" | "DEL" | "CHECK";
  /** Empty where DEL got none: then the namespace is gone. */
  readonly netns: string;
  /** CNI_NETNS may be the plugin's own namespace. */
  readonly netnsOverride: boolean;
  readonly pod: PodIdentity;
  /** What CNI_ARGS asks for, unchecked: a capability goes over it. */
  readonly asked: AddressArgs;
}

/** Also the rule for names of networks. */
export const identifierPattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** IFNAMSIZ less the closing NUL. */
const MAX_IFNAME_BYTES = 15;

function environmentError(subject: string, problems: readonly string[]): TrivetError {
  const message = `the environment is not as a CNI runtime sets it: ${problems.join("; ")}`;
  return new TrivetError({ kind: "environment", op: "environment.parse", subject, message });
}

/** CNI_COMMAND. */
export function parseCommand(env: Environment): Command {
  const command = env.CNI_COMMAND ?? "";
  const known = commands.find((name) => name === command);
  if (known) return known;
  const problem = command === "" ? "CNI_COMMAND is missing" : `CNI_COMMAND is "${shorten(command)}"`;
  throw environmentError("CNI_COMMAND", [`${problem}: it must be one of ${commands.join(", ")}`]);
}

/** The variables of ADD, CHECK and DEL. DEL takes what it can get: it needs no namespace and reads no CNI_ARGS. */
export function parseCall(command: "ADD" | "DEL" | "CHECK", env: Environment): AttachmentCall {
  const containerId = env.CNI_CONTAINERID ?? "";
  const ifname = env.CNI_IFNAME ?? "";
  const netns = env.CNI_NETNS ?? "";
  const required = { CNI_CONTAINERID: containerId, CNI_IFNAME: ifname };
  const needed = command === "DEL" ? required : { ...required, CNI_NETNS: netns };
  const missing = Object.entries(needed).flatMap(([name, value]) => (value === "" ? [name] : []));
  const problems = missing.length > 0 ? [`${missing.join(", ")} missing`] : [];
  if (containerId !== "" && !identifierPattern.test(containerId)) {
    problems.push(`CNI_CONTAINERID is "${shorten(containerId)}": it must match ${identifierPattern.source}`);
  }
  const wrongName = ifname === "" ? undefined : ifnameProblem(ifname);
  if (wrongName) problems.push(`CNI_IFNAME is "${shorten(ifname)}": ${wrongName}`);
  const { pod, asked, problems: argsProblems } = parseArgs(env.CNI_ARGS ?? "");
  if (command !== "DEL") problems.push(...argsProblems);
  if (problems.length > 0) throw environmentError("CNI_*", problems);
  const netnsOverride = ["1", "true"].includes((env.CNI_NETNS_OVERRIDE ?? "").toLowerCase());
  return { command, containerId, ifname, netns, netnsOverride, pod, asked };
}

/** GC must be told where delegates are; STATUS needs nothing (SPEC.md, "CNI operations"). */
export function requireForNetwork(command: "GC" | "STATUS", env: Environment): void {
  if (command === "STATUS" || (env.CNI_PATH ?? "") !== "") return;
  throw environmentError("CNI_PATH", ["CNI_PATH missing"]);
}

const MAX_SHOWN = 120;

/** For messages: a variable of an environment can be 128 KiB long. */
export function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** The rules of libcni's ValidateInterfaceName, and names that the kernel takes for something else. */
function ifnameProblem(ifname: string): string | undefined {
  if (Buffer.byteLength(ifname) > MAX_IFNAME_BYTES) {
    return `an interface name has at most ${MAX_IFNAME_BYTES} bytes`;
  }
  if (ifname === "." || ifname === "..") return "this name is a directory";
  if (ifname === "all" || ifname === "default")
    return "the kernel's settings use this name for every interface";
  if (ifname.includes("%")) return "it must not hold a percent sign: the kernel would number it";
  if (/[/:\s]/.test(ifname)) return "it must not hold a slash, a colon or white space";
  return undefined;
}
