/**
 * What a machine looks like from outside: mounts, links, namespaces, addresses of sysctls, processes and files that
 * a run of the demo could leave behind. Taken before and after, the difference is what is left.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** Each finding in words, such as `mount /run/x` or `sysctl net.ipv4.ip_forward = 1`. */
export type HostState = ReadonlySet<string>;

const SYSCTL_ROOT = "/proc/sys/net";
// What the network stack adds and removes with each link; a link left behind is found as a link.
const sysctlDirectories = [
  "ipv4",
  "ipv4/conf/all",
  "ipv4/conf/default",
  "ipv6/conf/all",
  "ipv6/conf/default",
];

/** Directories whose entries outlive a badly ended runtime or plugin: namespaces, shims' sockets, CNI results. */
const watchedDirectories = [
  "/run/netns",
  "/run/trivet",
  "/var/lib/trivet",
  "/var/lib/cni/results",
  "/run/containerd/s",
  "/run/containerd/fifo",
];

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

async function lines(file: string): Promise<string[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

async function mounts(): Promise<string[]> {
  return (await lines("/proc/self/mountinfo")).map((line) => `mount ${line.split(" ")[4]}`);
}

async function links(): Promise<string[]> {
  return (await names("/sys/class/net")).map((name) => `link ${name}`);
}

async function routes(): Promise<string[]> {
  return (await lines("/proc/net/route"))
    .slice(1)
    .map((line) => `route ${line.split("\t").slice(0, 3).join(" ")}`);
}

async function sysctls(): Promise<string[]> {
  const found = await Promise.all(
    sysctlDirectories.map(async (directory) => {
      const files = await names(join(SYSCTL_ROOT, directory));
      return Promise.all(
        files.map(async (file) => {
          const [value] = await lines(join(SYSCTL_ROOT, directory, file)).catch(() => []);
          return value === undefined ? [] : [`sysctl net/${directory}/${file} = ${value}`];
        }),
      );
    }),
  );
  return found.flat(2);
}

/** Processes that name the demo's directory in their command line, and every network namespace that one lives in. */
async function processes(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await names("/proc")) {
    if (!/^\d+$/.test(pid) || pid === String(process.pid)) continue;
    const command = (await readFile(join("/proc", pid, "cmdline"), "utf8").catch(() => "")).replaceAll(
      "\0",
      " ",
    );
    if (command.includes(directory)) found.push(`process ${pid} ${command.trim()}`);
    const namespace = await readlink(join("/proc", pid, "ns/net")).catch(() => undefined);
    if (namespace) found.push(`network namespace ${namespace}`);
  }
  return found;
}

async function files(): Promise<string[]> {
  const found = await Promise.all(
    watchedDirectories.map(async (directory) =>
      (await names(directory)).map((name) => join(directory, name)),
    ),
  );
  return found.flat().map((path) => `file ${path}`);
}

/** Looks at the machine; `directory` is the demo's own, by which its processes are known. */
export async function readHostState(directory: string): Promise<HostState> {
  const found = await Promise.all([mounts(), links(), routes(), sysctls(), processes(directory), files()]);
  return new Set(found.flat());
}

/** What is there now and was not before. */
export function leftBehind(before: HostState, after: HostState): string[] {
  return [...after].filter((finding) => !before.has(finding)).sort();
}
