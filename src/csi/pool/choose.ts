/** Which pools a new volume may lie in, the best first. The class restricts, the node's setting orders. */
import { isKind } from "../../errors.ts";
import type { AccessType, BackendName } from "../backend/backend.ts";
import type { BackendWish, ClassParameters } from "../parameters.ts";
import { invalid, refusal } from "../refusal.ts";
import { DEFAULT_POOL, type PoolChoice } from "./config.ts";
import type { Room } from "./ledger.ts";
import type { OpenPool, Pool } from "./pool.ts";

/** What the volume needs of its pool. */
export interface PoolWish extends Pick<ClassParameters, "pools" | "backend" | "inodes" | "fsType"> {
  readonly access: AccessType;
  /** Whether whoever makes a pod asks, and no class does: not even by name for what is kept for classes. */
  readonly isInline?: boolean;
}

/** The pools of a node with the setting that chooses among them. */
export interface PoolChooser {
  /**
   * Open pools in which the volume may be made. Throws `exhausted`, so that the pod is scheduled elsewhere, where this node
   * has none of the pools that the class names or gives them no new volumes; `invalid` where none of them can ever hold
   * such a volume; `unavailable` where those that could are away.
   */
  choose(wish: PoolWish): Promise<readonly OpenPool[]>;
}

/** One for the life of the process: the turns of `round-robin` go on from call to call. */
export function createPoolChooser(all: readonly Pool[], choice: PoolChoice): PoolChooser {
  let turn = 0;
  return {
    async choose(wish) {
      const named = candidatesOf(all, wish, choice);
      const open: OpenPool[] = [];
      let away: unknown;
      for (const pool of named) {
        try {
          open.push(await pool.use());
        } catch (error) {
          if (!isKind(error, "unavailable")) throw error;
          away ??= error;
        }
      }
      const fit = open.filter((pool) => misfitOf(pool, wish) === undefined);
      if (fit.length === 0 && away !== undefined) throw away;
      const [first] = open;
      if (fit.length === 0 && first) throw misfitOf(first, wish);
      if (fit.length > 1 && choice === "round-robin") return rotate(fit, turn++);
      return fit.length > 1 ? byRoom(fit, choice) : fit;
    },
  };
}

function candidatesOf(
  all: readonly Pool[],
  { pools: wanted, isInline }: PoolWish,
  choice: PoolChoice,
): readonly Pool[] {
  const names = all.map(({ config }) => config.name).join(", ");
  const matching = wanted ? all.filter(({ config }) => wanted.includes(config.name)) : unnamed(all, choice);
  if (matching.length === 0) {
    if (!wanted) {
      throw invalid("parameters.pool", `is missing and no pool is the default: this node has ${names}`);
    }
    const message = `parameters.pool is "${wanted.join(",")}", and this node has ${names}`;
    throw refusal("exhausted", "parameters.pool", message);
  }
  const allowed = matching.filter(({ config }) => !(isInline && config.onlyNamed));
  if (wanted && allowed.length === 0) {
    throw invalid("volume_context.pool", `is "${wanted.join(",")}", which is for classes that name it alone`);
  }
  const filled = allowed.filter(({ config }) => !config.drain);
  if (filled.length > 0) return filled;
  const drained = allowed.map(({ config }) => config.name).join(", ");
  throw refusal("exhausted", "parameters.pool", `pool ${drained} gets no new volumes: it is being drained`);
}

function unnamed(all: readonly Pool[], choice: PoolChoice): readonly Pool[] {
  const free = all.filter(({ config }) => !config.onlyNamed);
  if (choice !== "default" || free.length === 1) return free;
  return free.filter(({ config }) => config.name === DEFAULT_POOL);
}

/** What a class asks for to get volumes of this kind. */
export function wishFor(backend: BackendName): BackendWish {
  return backend === "btrfs" ? "quota" : backend;
}

/** Why this pool can never hold such a volume. */
function misfitOf({ name, backend }: OpenPool, wish: PoolWish): Error | undefined {
  if (wish.backend !== undefined && wish.backend !== wishFor(backend.name)) {
    return invalid("parameters.backend", `is "${wish.backend}", but pool "${name}" has ${backend.how}`);
  }
  if (!backend.accessTypes.includes(wish.access)) {
    const message = `asks for ${wish.access}, which pool "${name}" (${backend.how}) does not offer`;
    return invalid("volume_capabilities", message);
  }
  if (wish.fsType !== undefined && !backend.fsTypes.includes(wish.fsType)) {
    const known = backend.fsTypes.join(", ") || "none: its volumes have the file system of the pool";
    return invalid("fsType", `is "${wish.fsType}", but pool "${name}" offers ${known}`);
  }
  if (wish.inodes !== undefined && !backend.enforced) {
    return invalid("parameters.inodes", `is ${wish.inodes}, but pool "${name}" has ${backend.how}`);
  }
  return undefined;
}

function rotate<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function byRoom(pools: readonly OpenPool[], choice: PoolChoice): Promise<readonly OpenPool[]> {
  const scored = await Promise.all(
    pools.map(async (pool) => {
      // A disk that does not even say what it has comes last: it is not to stop the others.
      const room = await pool.room().catch(() => undefined);
      return { pool, score: room ? scoreOf(pool, room, choice) : Number.NEGATIVE_INFINITY };
    }),
  );
  return scored.sort((a, b) => b.score - a.score).map(({ pool }) => pool);
}

function scoreOf(
  { ledger: { reservedBytes } }: OpenPool,
  { limitBytes, availableBytes }: Room,
  choice: PoolChoice,
): number {
  if (choice === "least-used") return -reservedBytes / Math.max(1, limitBytes);
  return Math.min(limitBytes - reservedBytes, availableBytes);
}
