/** Kernel parameters below /proc/sys, by their dotted names. Network ones are those of this process's namespace. */
import { readFileSync, writeFileSync } from "node:fs";
import { TrivetError } from "../errors.ts";
import { fromNodeError } from "./errno.ts";
import type { Netns, NetnsHandle } from "./netns.ts";

/** Errors are `not-found` for a parameter that this kernel has not, `io` for a value that it refuses. */
export interface Sysctl {
  /** The value without its line end, as in `read("net.ipv4.ip_forward")`. */
  read(name: string): Promise<string>;
  write(name: string, value: string): Promise<void>;
}

/** Also those of other network namespaces. */
export interface NetnsSysctl extends Sysctl {
  /** The parameters below `net` as they are inside the namespace. */
  inside(netns: NetnsHandle): Sysctl;
}

/** As with sysctl(8) a slash stands for a dot within a part, such as that of `eth0.5`. */
const namePattern = /^[a-z0-9_]+(\.[a-zA-Z0-9_-]+(\/[a-zA-Z0-9_-]+)*)+$/;

function pathOf(name: string): string {
  const swap = (separator: string) => (separator === "." ? "/" : ".");
  if (namePattern.test(name)) return `/proc/sys/${name.replaceAll(/[./]/g, swap)}`;
  throw new TrivetError({
    kind: "bug",
    op: "sysctl.name",
    subject: name,
    message: `"${name}" is no name of a kernel parameter`,
  });
}

/** Needs no privilege to read. */
export function createSysctl(namespaces: Pick<Netns, "within">): NetnsSysctl {
  // The files show the namespace of the thread that opens them: nothing but that happens inside.
  const inside = (netns: NetnsHandle) => sysctlBy((access) => namespaces.within(netns, access));
  return { ...sysctlBy((access) => access()), inside };
}

function sysctlBy(run: <T>(access: () => T) => T): Sysctl {
  return {
    async read(name) {
      const path = pathOf(name);
      try {
        // Synchronous on purpose: this never waits for a disk, and costs a tenth of the way through libuv's pool.
        return run(() => readFileSync(path, "utf8")).trimEnd();
      } catch (error) {
        throw fromNodeError(error, "sysctl.read", name);
      }
    },
    async write(name, value) {
      const path = pathOf(name);
      try {
        run(() => writeFileSync(path, `${value}\n`));
      } catch (error) {
        throw fromNodeError(error, "sysctl.write", name);
      }
    },
  };
}
