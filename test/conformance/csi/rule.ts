/**
 * What a rule of the specification is: a title that states it, what a driver must offer for it to apply, and a check
 * over the driver's socket. Rules know no driver, and no test runner: `main.ts` runs them against any endpoint.
 */
import assert from "node:assert/strict";
import type { World } from "./world.ts";

export type AccessType = "mount" | "block";

export interface Rule {
  /** `CreateVolume: no name is INVALID_ARGUMENT`. */
  readonly title: string;
  /** Capabilities as `controller:LIST_VOLUMES`, `node:EXPAND_VOLUME` or `plugin:CONTROLLER_SERVICE`. */
  readonly needs?: readonly string[];
  /** Where it holds for one access type only. */
  readonly access?: AccessType;
  /** Returns when the rule is kept, throws what is wrong. What it made through `world` is taken away afterwards. */
  run(world: World): Promise<void>;
}

/** Thrown by a rule that finds out half-way that it says nothing about this driver. */
export class NotApplicable extends Error {}

/** The call must end in one of these gRPC statuses. */
export async function expectCode(
  world: World,
  [method, request]: readonly [string, object],
  ...codes: readonly string[]
): Promise<void> {
  const { code, details } = await world.outcome(method, request);
  assert.ok(
    codes.includes(code),
    `${method} answered ${code}${details ? ` (${details})` : ""} where ${codes.join(" or ")} is asked`,
  );
}

/** One rule for each field of a request that may not be missing. */
export function requiredFields(options: {
  readonly method: string;
  readonly needs?: readonly string[];
  /** A request that is whole, for a volume that there is. */
  readonly request: (world: World) => Promise<object>;
  readonly fields: readonly string[];
}): Rule[] {
  const { method, fields, request, needs } = options;
  return fields.map((field) => ({
    title: `${method}: no ${field} is INVALID_ARGUMENT`,
    ...(needs ? { needs } : {}),
    async run(world) {
      const { [field]: _, ...rest } = (await request(world)) as Record<string, unknown>;
      await expectCode(world, [method, rest], "INVALID_ARGUMENT");
    },
  }));
}

/** Ids that no volume and no snapshot has: they are unknown, whatever they look like. */
export const unknownIds = ["none-of-yours", "../../etc", "a/b", "\u{1F600}", "n".repeat(128)] as const;

/** As many `items` as there are, all at once; the outcomes in their order. */
export function atOnce<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => work(index)));
}
