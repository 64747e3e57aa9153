/** Networks beside the one that a plugin is tried with, and whether a node is again as it was. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Json, must, type Runtime, type Subject } from "../rule.ts";
import { show } from "../runtime.ts";

/** Of another name, and on another bridge where the plugin has one: it may have another subnet. */
export function otherNetwork({ conf }: Subject, name: string): Json {
  const bridge =
    typeof conf.bridge === "string" ? { bridge: `${conf.bridge.slice(0, 8)}-${name}`.slice(0, 15) } : {};
  return { name: `${String(conf.name)}-${name}`, ...bridge };
}

/** A network with room for one container. */
export function smallNetwork(subject: Subject): Json {
  const ipam = { ...(subject.conf.ipam as object), ranges: [[{ subnet: "192.0.2.0/30" }]] };
  return { ...otherNetwork(subject, "small"), ipam };
}

/** For rules that need a small network. */
export const withoutRanges = ({ conf }: Subject): string | undefined =>
  Array.isArray((conf.ipam as { ranges?: unknown } | undefined)?.ranges)
    ? undefined
    : "its configuration has no ipam.ranges to make small";

/** What a plugin makes once and keeps, such as a bridge or a table, is no leak. */
export async function warmUp(runtime: Runtime): Promise<void> {
  const pod = await runtime.pod();
  await runtime.added(pod);
  await runtime.succeeds("DEL", pod);
}

const PATIENCE = { times: 40, pauseMs: 50 };

/** The kernel takes a namespace down, and with it its links, a little after it is let go. */
export async function mustBeAsBefore({ subject }: Runtime, before: readonly string[]): Promise<void> {
  let after = await subject.traces();
  for (let tries = 0; show(after) !== show(before) && tries < PATIENCE.times; tries++) {
    await sleep(PATIENCE.pauseMs);
    after = await subject.traces();
  }
  const left = after.filter((line) => !before.includes(line));
  const lost = before.filter((line) => !after.includes(line));
  must(left.length === 0, `it left ${show(left)} on the node`);
  must(lost.length === 0, `it took ${show(lost)} from the node`);
}
