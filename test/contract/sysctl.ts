/** What `Sysctl` promises, as cases for the fake and for /proc/sys. */
import { expect } from "vitest";
import type { Sysctl } from "../../src/host/sysctl.ts";

export interface SysctlUnderTest {
  readonly sysctl: Sysctl;
  /** A parameter that takes any number and harms nobody; the test puts its value back. */
  readonly name: string;
}

export interface SysctlCase {
  readonly title: string;
  run(subject: SysctlUnderTest): Promise<void>;
}

export const sysctlContract: readonly SysctlCase[] = [
  {
    title: "a value that was written is read back, without a line end",
    async run({ sysctl, name }) {
      const before = await sysctl.read(name);
      const other = String(Number(before) + 1);
      try {
        await sysctl.write(name, other);
        expect(await sysctl.read(name)).toBe(other);
      } finally {
        await sysctl.write(name, before);
      }
      expect(await sysctl.read(name)).toBe(before);
    },
  },
  {
    title: "a parameter that does not exist is not-found, in reading and in writing",
    async run({ sysctl }) {
      const name = "net.ipv4.no_such_parameter";
      await expect(sysctl.read(name)).rejects.toMatchObject({ kind: "not-found", op: "sysctl.read" });
      await expect(sysctl.write(name, "1")).rejects.toMatchObject({ op: "sysctl.write", subject: name });
    },
  },
];
