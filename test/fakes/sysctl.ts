/** Kernel parameters in memory. The contract in `test/contract/sysctl.ts` runs on this and on /proc/sys. */
import { errnoError } from "../../src/host/errno.ts";
import type { Sysctl } from "../../src/host/sysctl.ts";

export interface FakeSysctl extends Sysctl {
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
  const fake: FakeSysctl = {
    values,
    onEffect: undefined,
    read: (name) =>
      effect("sysctl.read", name, () => {
        const value = values.get(name);
        if (value === undefined) throw errnoError("ENOENT", "sysctl.read", name);
        return value;
      }),
    write: (name, value) =>
      effect("sysctl.write", name, () => {
        if (!values.has(name)) throw errnoError("ENOENT", "sysctl.write", name);
        values.set(name, value);
      }),
  };
  return fake;
}
