/**
 * The order of a take-over by path, seen from the process that serves: a newcomer that listens under other names asks for
 * the public ones. They are given by renaming, each with a way back, and the way back is taken if the newcomer is not
 * heard of again and nobody answers. Opens no socket: effects and time are given.
 */

/** A socket that the newcomer wants under the public name. */
export interface WantedName {
  readonly path: string;
  /** Where it listens now, in the same directory. */
  readonly temporary: string;
}

/** A name that was given away; see `yieldName` of the host. */
export interface GivenName {
  undo(): Promise<void>;
  done(): Promise<void>;
}

/** What is done, by whoever knows how. */
export interface TakeOverEffects {
  /** Frees what only one process can have. */
  yieldAddresses(): Promise<void>;
  give(name: WantedName): Promise<GivenName>;
  /** Resolves with whether the newcomer said that it serves, within a bound. */
  confirmed(): Promise<boolean>;
  /** Whether anybody accepts at a path. */
  answers(path: string): Promise<boolean>;
  /** Takes back what was freed. Must not fail. */
  resume(reason: string): Promise<void>;
  /** Waits for those who connected to the old names, stops accepting, and lets calls end. Does not wait. */
  leave(names: readonly string[]): void;
}

/** A take-over whose names are given; `settled` follows when it is known whether the newcomer serves. */
export interface TakeOver {
  readonly settled: Promise<"left" | "resumed">;
}

/** Gives all names or none. Throws what giving threw, with this process serving as before. */
export async function giveNames(effects: TakeOverEffects, wanted: readonly WantedName[]): Promise<TakeOver> {
  const given: GivenName[] = [];
  try {
    await effects.yieldAddresses();
    for (const name of wanted) given.push(await effects.give(name));
  } catch (error) {
    await undoAll(given);
    await effects.resume(error instanceof Error ? error.message : String(error));
    throw error;
  }
  return { settled: settle(effects, wanted, given) };
}

async function settle(
  effects: TakeOverEffects,
  wanted: readonly WantedName[],
  given: readonly GivenName[],
): Promise<"left" | "resumed"> {
  const paths = wanted.map(({ path }) => path);
  if (!(await effects.confirmed())) {
    // It may be slow, or dead: what answers under the names decides, not what it said.
    const answers = await Promise.all(paths.map((path) => effects.answers(path)));
    if (answers.includes(false)) {
      await undoAll(given);
      await effects.resume("the process that took the sockets over is gone");
      return "resumed";
    }
  }
  await Promise.all(given.map((name) => name.done()));
  effects.leave(paths);
  return "left";
}

/** Each by itself: one name that cannot be taken back must not cost the others. */
async function undoAll(given: readonly GivenName[]): Promise<void> {
  await Promise.allSettled(given.map((name) => name.undo()));
}
