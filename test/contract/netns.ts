/** What `Netns` promises, as cases for the fake and for the kernel. */
import { expect } from "vitest";
import type { Netns } from "../../src/host/netns.ts";

export interface NetnsUnderTest {
  readonly netns: Netns;
  /** Two paths with a namespace each, one with a plain file, one with nothing, one below a plain file. */
  readonly first: string;
  readonly second: string;
  readonly plainFile: string;
  readonly missing: string;
}

export interface NetnsCase {
  readonly title: string;
  run(subject: NetnsUnderTest): Promise<void>;
}

export const netnsContract: readonly NetnsCase[] = [
  {
    title: "a namespace is told from another and from the process's own by its inode",
    async run({ netns, first, second }) {
      const handles = [netns.open(first), netns.open(second), netns.open(first)];
      const inodes = handles.map((handle) => handle?.inode);
      expect(inodes[0]).toBeTypeOf("bigint");
      expect(inodes[0]).toBe(inodes[2]);
      expect(new Set([...inodes, netns.currentInode()]).size).toBe(3);
      expect(handles[0]?.path).toBe(first);
      for (const handle of handles) handle?.close();
    },
  },
  {
    title: "there is no namespace where there is no file, or a plain file, or no directory",
    async run({ netns, missing, plainFile }) {
      expect(netns.open(missing)).toBeUndefined();
      expect(netns.open(plainFile)).toBeUndefined();
      expect(netns.open(`${plainFile}/below`)).toBeUndefined();
    },
  },
  {
    title: "what runs within a namespace gives its value, and the process is back in its own afterwards",
    async run({ netns, first }) {
      const before = netns.currentInode();
      const handle = netns.open(first);
      if (!handle) throw new Error("the namespace is missing");
      expect(netns.within(handle, () => "made")).toBe("made");
      expect(netns.currentInode()).toBe(before);
      handle.close();
    },
  },
  {
    title: "the process is back in its own namespace also after what ran within threw",
    async run({ netns, first }) {
      const before = netns.currentInode();
      const handle = netns.open(first);
      if (!handle) throw new Error("the namespace is missing");
      const fail = () => {
        throw new Error("inside");
      };
      expect(() => netns.within(handle, fail)).toThrow("inside");
      expect(netns.currentInode()).toBe(before);
      handle.close();
    },
  },
  {
    title: "a handle may be closed twice",
    async run({ netns, first }) {
      const handle = netns.open(first);
      handle?.close();
      handle?.close();
      expect(netns.open(first)).toBeDefined();
    },
  },
];
