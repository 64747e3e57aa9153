/** Records as lines for people, also of calls that are still to come: columns only grow. */
import type { CallRecord } from "../../cri/record/call-record.ts";
import { formatMs, type Look, paint } from "./terminal.ts";

const heading = ["TIME (UTC)", "METHOD", "POD", "CONTAINER", "STATUS", "RUNTIME", "OURS", "NOTE"];
/** What most of these need, so that columns rarely move. */
const startWidths = [18, 16, 20, 10, 9, 7, 7, 4];
const STATUS = 4;
const RUNTIME = 5;
const SLOW_MS = 1_000;

export interface CallTable {
  /** Lines with a newline each; the heading stands above the first of them. */
  add(records: readonly CallRecord[]): string;
}

export function createCallTable(look: Look): CallTable {
  const widths = [...startWidths];
  let begun = false;
  const line = (cells: readonly string[], shown: readonly string[]) =>
    `${shown
      .map(
        (text, column) =>
          text + " ".repeat(Math.max(0, (widths[column] ?? 0) - (cells[column] ?? "").length)),
      )
      .join("  ")
      .trimEnd()}\n`;
  return {
    add(records) {
      const rows = records.map(toCells);
      for (const row of rows) {
        for (const [column, cell] of row.entries())
          widths[column] = Math.max(widths[column] ?? 0, cell.length);
      }
      const lines = rows.map((row, index) => line(row, coloured(row, records[index], look)));
      if (!begun && records.length > 0) lines.unshift(line(heading, heading));
      begun ||= records.length > 0;
      return lines.join("");
    },
  };
}

function toCells(record: CallRecord): string[] {
  const { time, method, namespace, pod, container, image, status } = record;
  return [
    time
      .replace(/^\d{4}-/, "")
      .replace("T", " ")
      .replace(/Z$/, ""),
    method,
    pod ? `${namespace ?? ""}/${pod}` : shortId(record.sandboxId),
    container || shortId(record.containerId),
    status,
    formatMs(record.runtimeMs),
    formatMs(record.oursMs ?? record.heldMs),
    noteOf(record, image),
  ].map((cell) => printable(cell ?? "-"));
}

/** Names come from requests: nothing in them may move the cursor. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}

const shortId = (id: string | undefined): string | undefined => id?.slice(0, 13);

function noteOf(record: CallRecord, image: string | undefined): string {
  const { policies = [], changes = [], denied, policyError, sample, listener } = record;
  const outcomes = policies
    .filter(({ policy, action }) => !(denied?.policy === policy && action === "denied"))
    .map(({ policy, action }) => `${action} by ${policy}`);
  const named = new Set(policies.map(({ policy }) => policy));
  const notes = [
    ...(denied ? [`denied by ${denied.policy}: ${denied.message}`] : []),
    ...outcomes,
    ...changes
      .filter(({ policy }) => !named.has(policy))
      .map(({ policy, field, outcome }) => `${field} ${outcome} by ${policy}`),
    ...(policyError === undefined ? [] : [`policy failed: ${policyError}`]),
    ...(image && record.method.endsWith("Image") ? [image] : []),
    ...(listener === undefined ? [] : [`by ${listener}`]),
    ...(sample === undefined ? [] : [`one of ${sample}`]),
  ];
  return notes.join("; ");
}

function coloured(row: readonly string[], record: CallRecord | undefined, look: Look): readonly string[] {
  if (!look.colour || !record) return row;
  return row.map((cell, column) => {
    if (column === STATUS) return paint(cell, record.status === "OK" ? "green" : "red", look);
    if (column === RUNTIME && (record.runtimeMs ?? 0) >= SLOW_MS) return paint(cell, "yellow", look);
    return cell;
  });
}
