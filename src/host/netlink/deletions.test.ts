import { expect, test } from "vitest";
import type { NetlinkMessage } from "./codec.ts";
import type { NetlinkConnection } from "./connection.ts";
import { createDeletions } from "./deletions.ts";

const ENODEV = 19;
const EOPNOTSUPP = 95;
const turns = async () => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** A kernel with these links, which answers what is slow when it is let. */
function kernelWith(...names: string[]) {
  const links = new Map(names.map((name) => [name, ""]));
  const asked: string[] = [];
  const held: (() => void)[] = [];
  let refuseGroups = false;
  let stolen: string | undefined;
  const answer = ({ op, subject }: NetlinkMessage): number => {
    const [name = "", group = ""] = subject.split(" in group ");
    if (op === "link.group" && links.has(name)) links.set(name, group);
    if (op !== "link.group-delete")
      return links.has(name) && (op !== "link.delete" || links.delete(name)) ? 0 : ENODEV;
    if (refuseGroups) return EOPNOTSUPP;
    if (stolen !== undefined) links.set(stolen, "of another process");
    const members = [...links].filter(([, of]) => of === subject);
    for (const [member] of members) links.delete(member);
    return members.length > 0 ? 0 : ENODEV;
  };
  const connection: NetlinkConnection = {
    async exchange(messages, options) {
      asked.push(...messages.map(({ op, subject }) => (op === "link.delete" ? `${op} ${subject}` : op)));
      if (options?.slow) await new Promise<void>((resolve) => held.push(resolve));
      return messages.map((message) => ({
        replies: [],
        ack: { sequence: 0, errno: answer(message), detail: undefined },
      }));
    },
    close: () => undefined,
  };
  const deleteLink = createDeletions();
  const remove = (name: string, namespace = "own") => deleteLink({ connection, namespace, name });
  const release = async () => {
    for (let round = 0; round < 5; round += 1) {
      for (const go of held.splice(0)) go();
      await turns();
    }
  };
  const refuse = () => {
    refuseGroups = true;
  };
  const steal = (name: string) => {
    stolen = name;
  };
  return { links, asked, remove, release, refuse, steal };
}

test("a link alone goes at once, by its name", async () => {
  const { asked, remove, release } = kernelWith("a");
  const gone = remove("a");
  expect(asked).toEqual(["link.delete a"]);
  await release();
  await gone;
});

test("those that come while others are deleted go together, and one that is gone fails alone", async () => {
  const { links, asked, remove, release } = kernelWith("a", "b", "c", "d");
  const all = Promise.allSettled(["a", "b", "c", "none", "d"].map((name) => remove(name)));
  expect(asked).toEqual(["link.delete a", "link.delete b"]);
  await release();
  const outcomes = await all;
  expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual([true, true, true, false, true]);
  expect(outcomes[3]).toMatchObject({ reason: { kind: "not-found", op: "link.delete", subject: "none" } });
  expect(asked.filter((op) => op === "link.group-delete")).toHaveLength(1);
  expect([...links.keys()]).toEqual([]);
});

test("nobody is told before the own link is gone", async () => {
  const { links, remove, release } = kernelWith("a", "b", "c", "d");
  const early: string[] = [];
  const all = ["a", "b", "c", "d"].map((name) =>
    remove(name).then(() => {
      if (links.has(name)) early.push(name);
    }),
  );
  await release();
  await Promise.all(all);
  expect(early).toEqual([]);
});

test("a link that another process has taken into its group is not told gone before it is", async () => {
  const { links, asked, remove, release, steal } = kernelWith("a", "b", "c", "d");
  steal("c");
  const all = Promise.all(["a", "b", "c", "d"].map((name) => remove(name)));
  await release();
  await all;
  expect(asked).toContain("link.delete c");
  expect(links.size).toBe(0);
});

test("where the group is refused each is deleted by itself", async () => {
  const { links, remove, release, refuse } = kernelWith("a", "b", "c", "d");
  refuse();
  const all = Promise.all(["a", "b", "c", "d"].map((name) => remove(name)));
  await release();
  await all;
  expect(links.size).toBe(0);
});

test("links of two namespaces never go together", async () => {
  const { asked, remove, release } = kernelWith("a", "b", "c", "d", "e", "f");
  const all = Promise.all([
    ...["a", "b", "c"].map((name) => remove(name, "one")),
    ...["d", "e", "f"].map((name) => remove(name, "two")),
  ]);
  await release();
  await all;
  expect(asked.sort()).toEqual(["a", "b", "c", "d", "e", "f"].map((name) => `link.delete ${name}`));
});
