/** Which records of the call log are asked for. Pure. */
import type { CallRecord } from "../../cri/record/call-record.ts";
import { TrivetError } from "../../errors.ts";

/** The flags, as text. */
export interface QueryFlags {
  readonly pod?: string;
  readonly container?: string;
  readonly method?: readonly string[];
  readonly status?: readonly string[];
  readonly policy?: string;
  readonly slow?: string;
  readonly since?: string;
}

export interface Query {
  /** Records before it are not asked for; 0 for all. */
  readonly sinceMs: number;
  matches(record: CallRecord): boolean;
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `--since`, as `10m` before now or as a time; throws `invalid` for anything else. */
export function parseSince(text: string, nowMs: number): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (count && unit) return nowMs - Number(count) * unitMs[unit as keyof typeof unitMs];
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(time)) return time;
  throw invalid("--since", `${text}: must be like 30s, 10m, 2h, 1d, or a time like 2026-11-21T02:10:00Z`);
}

/** Throws `invalid`, with the flag's name, for what no record can match by mistake. */
export function createQuery(flags: QueryFlags, nowMs: number): Query {
  const sinceMs = flags.since === undefined ? 0 : parseSince(flags.since, nowMs);
  const tests: ((record: CallRecord) => boolean)[] = [];
  if (sinceMs > 0) tests.push(({ time }) => Date.parse(time) >= sinceMs);
  if (flags.pod !== undefined) tests.push(podTest(flags.pod));
  if (flags.container !== undefined)
    tests.push(({ container, containerId }) => isNamed(flags.container, container, containerId));
  if (flags.method) tests.push(methodTest(flags.method));
  if (flags.status) tests.push(statusTest(flags.status));
  if (flags.policy !== undefined) tests.push(policyTest(flags.policy));
  if (flags.slow !== undefined) tests.push(slowTest(flags.slow));
  return { sinceMs, matches: (record) => tests.every((test) => test(record)) };
}

/** A name, or the beginning of an id as tools show them. */
function isNamed(wanted: string | undefined, name: string | undefined, id: string | undefined): boolean {
  return wanted !== undefined && (name === wanted || (wanted.length >= 8 && id?.startsWith(wanted) === true));
}

function podTest(text: string): (record: CallRecord) => boolean {
  const [first = "", second, ...more] = text.split("/");
  if (more.length > 0 || text === "" || text === "/")
    throw invalid(
      "--pod",
      `${text}: must be NAMESPACE/NAME, NAME, or NAMESPACE/ for all pods of a namespace`,
    );
  if (second === undefined) return ({ pod, sandboxId }) => isNamed(first, pod, sandboxId);
  return ({ namespace, pod }) => namespace === first && (second === "" || second === "*" || pod === second);
}

function methodTest(names: readonly string[]): (record: CallRecord) => boolean {
  const wanted = new Set(names.flatMap((name) => name.split(",")).map((name) => name.toLowerCase()));
  return ({ method }) => wanted.has(method.toLowerCase());
}

/** `failed` stands for everything but OK. */
function statusTest(names: readonly string[]): (record: CallRecord) => boolean {
  const wanted = new Set(names.flatMap((name) => name.split(",")).map((name) => name.toUpperCase()));
  return ({ status }) => wanted.has(status.toUpperCase()) || (wanted.has("FAILED") && status !== "OK");
}

function policyTest(name: string): (record: CallRecord) => boolean {
  return ({ policies, changes, denied }) =>
    denied?.policy === name ||
    policies?.some(({ policy }) => policy === name) === true ||
    changes?.some(({ policy }) => policy === name) === true;
}

function slowTest(text: string): (record: CallRecord) => boolean {
  const ms = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || !Number.isFinite(ms))
    throw invalid("--slow", `${text}: must be a number of milliseconds`);
  return ({ totalMs }) => totalMs >= ms;
}

function invalid(flag: string, message: string): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "calls.query",
    subject: flag,
    message: `${flag} ${message}`,
  });
}
