/** Kernel parameters in memory. The contract in `test/contract/sysctl.ts` runs on this and on /proc/sys. */
import { errnoError } from "../../src/host/errno.ts";
import type { NetnsSysctl, Sysctl } from "../../src/host/sysctl.ts";

export interface FakeSysctl extends NetnsSysctl {
  readonly values: Map<string, string>;
  /** Called around each effect. */
  onEffect: ((op: string, subject: string, when: "before" | "after") => void) | undefined;
}

export function createFakeSysctl(values: Map<string, string>): FakeSysctl {
  const effect = async <T>(op: string, name: string, act: () => T): Promise<T> => {
    fake.onEffect?.(op, name, "before");
    const result = act();
    fake.onEffect?.(op, name, "after");
    return result;
  };
  /** Parameters of links are there as soon as the link is: with their kernel's default until they are written. */
  const lookUp = (key: string, name: string): string | undefined =>
    values.get(key) ?? linkDefaults[/^net\.ipv[46]\.conf\.[^.]+\.([a-z0-9_]+)$/.exec(name)?.[1] ?? ""];
  const sysctlOf = (prefix: string): Sysctl => ({
    read: (name) =>
      effect("sysctl.read", name, () => {
        const value = lookUp(`${prefix}${name}`, name);
        if (value === undefined) throw errnoError("ENOENT", "sysctl.read", name);
        return value;
      }),
    write: (name, value) =>
      effect("sysctl.write", name, () => {
        if (lookUp(`${prefix}${name}`, name) === undefined) throw errnoError("ENOENT", "sysctl.write", name);
        values.set(`${prefix}${name}`, value);
      }),
  });
  const fake: FakeSysctl = {
    values,
    onEffect: undefined,
    ...sysctlOf(""),
    inside: (netns) => sysctlOf(`${netns.inode}:`),
  };
  return fake;
}

/** What the kernel does when a link of the host goes: its parameters go with it. */
export function forgetLink(values: Map<string, string>, link: string): void {
  const own = `.conf.${link.replaceAll(".", "/")}.`;
  for (const name of values.keys())
    if (/^net\.ipv[46]\./.test(name) && name.includes(own)) values.delete(name);
}

const linkDefaults: Readonly<Record<string, string>> = {
  accept_ra: "1",
  disable_ipv6: "0",
  route_localnet: "0",
};
