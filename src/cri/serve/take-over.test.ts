import { describe, expect, it } from "vitest";
import { giveNames, type TakeOverEffects } from "./take-over.ts";

interface Situation {
  /** The path whose giving fails. */
  readonly refused?: string;
  readonly confirmed?: boolean;
  /** The paths at which nobody answers afterwards. */
  readonly dead?: readonly string[];
  readonly yieldFails?: boolean;
}

const wanted = ["/run/a.sock", "/run/b.sock"].map((path) => ({ path, temporary: `${path}.new` }));

function world({ refused, confirmed = true, dead = [], yieldFails = false }: Situation) {
  const done: string[] = [];
  const owners = new Map(wanted.map(({ path }) => [path, "old"]));
  const effects: TakeOverEffects = {
    async yieldAddresses() {
      if (yieldFails) throw new Error("the port is stuck");
    },
    async give({ path }) {
      if (path === refused) throw new Error(`${path} cannot be given`);
      owners.set(path, "new");
      return {
        undo: async () => void owners.set(path, "old"),
        done: async () => void done.push(`done ${path}`),
      };
    },
    confirmed: async () => confirmed,
    answers: async (path) => !dead.includes(path),
    resume: async (reason) => void done.push(`resume: ${reason}`),
    leave: (names) => void done.push(`leave ${names.join(" ")}`),
  };
  return { effects, done, owners };
}

const done = wanted.map(({ path }) => `done ${path}`);
const leave = `leave ${wanted.map(({ path }) => path).join(" ")}`;

describe("a take-over by path", () => {
  it("gives all names, and leaves when the newcomer says that it serves", async () => {
    const { effects, done: seen, owners } = world({});
    const { settled } = await giveNames(effects, wanted);
    expect([...owners.values()]).toEqual(["new", "new"]);
    expect(await settled).toBe("left");
    expect(seen).toEqual([...done, leave]);
  });

  it.each(wanted.map(({ path }) => path))("gives none if %s cannot be given", async (refused) => {
    const { effects, done: seen, owners } = world({ refused });
    await expect(giveNames(effects, wanted)).rejects.toThrow(`${refused} cannot be given`);
    expect([...owners.values()]).toEqual(["old", "old"]);
    expect(seen).toEqual([`resume: ${refused} cannot be given`]);
  });

  it("gives none if the addresses cannot be freed", async () => {
    const { effects, done: seen, owners } = world({ yieldFails: true });
    await expect(giveNames(effects, wanted)).rejects.toThrow("the port is stuck");
    expect([...owners.values()]).toEqual(["old", "old"]);
    expect(seen).toEqual(["resume: the port is stuck"]);
  });

  it("leaves to a newcomer that is silent, but answers everywhere", async () => {
    const { effects, done: seen } = world({ confirmed: false });
    expect(await (await giveNames(effects, wanted)).settled).toBe("left");
    expect(seen).toEqual([...done, leave]);
  });

  it.each([
    ["dead", wanted.map(({ path }) => path)],
    ["half dead", ["/run/b.sock"]],
  ])("takes all names back from a newcomer that is %s", async (_, dead) => {
    const { effects, done: seen, owners } = world({ confirmed: false, dead });
    expect(await (await giveNames(effects, wanted)).settled).toBe("resumed");
    expect([...owners.values()]).toEqual(["old", "old"]);
    expect(seen).toEqual(["resume: the process that took the sockets over is gone"]);
  });
});
