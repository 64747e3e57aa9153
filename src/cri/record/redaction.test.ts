/** Secrets in every place of every message that must not be shown, and a search for them in all that the proxy writes. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openCallLog } from "../../commands/call-log.ts";
import { createCallTable } from "../../commands/cri/calls-table.ts";
import { createCriMetrics } from "../../commands/cri/metrics.ts";
import { createLog } from "../../observe/log.ts";
import { createMetrics } from "../../observe/metrics.ts";
import { createPodIndex } from "../pods/pod-index.ts";
import type { CallEnd } from "../tap/hooks.ts";
import { allMethods } from "../wire/descriptors.ts";
import type { CallRecord } from "./call-record.ts";
import { createCallWatch } from "./call-watch.ts";
import { defaultRecordLevels } from "./record-filter.ts";
import { createSkew } from "./skew.ts";
import { filledMessage } from "./testing/filled-message.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "trivet-secret-"));
});
afterEach(() => rm(directory, { recursive: true }));

function end(secret: string): CallEnd {
  return {
    ...{ grpcStatus: 2, grpcMessage: `the runtime says ${secret}`, reset: undefined },
    ...{ requestBytes: 1, responseBytes: 1 },
    timing: { startMs: 1, requestDoneMs: 2, responseStartMs: 3, endMs: 4, heldMs: 0.5 },
  };
}

it("no output holds any of them", async () => {
  const logged: string[] = [];
  const log = createLog("cri", "debug", { write: (line: string) => void logged.push(line) });
  const rotation = { maxBytes: 1 << 20, keep: 1 };
  const levels = { ...defaultRecordLevels, probe: "all", status: "all", poll: "all" } as const;
  const options = { levels, slowMs: 1, rotation, log };
  const file = join(directory, "calls");
  const toFile = await openCallLog({ ...options, target: file });
  const toLog = await openCallLog({ ...options, target: undefined });
  const metrics = createMetrics();
  const counted = createCriMetrics(metrics, () => ({ connections: 0, streams: 0, heldBytes: 0, known: 0 }));
  const records: CallRecord[] = [];
  const pods = createPodIndex();
  const watch = createCallWatch({
    pods,
    skew: createSkew({ onField: counted.unknownField }),
    nowMs: () => 0,
    record(record) {
      records.push(record);
      for (const log of [toFile, toLog]) log.write(record);
      counted.record(record);
    },
  });
  let secrets = 0;
  for (const { name, request, response } of allMethods()) {
    const asked = filledMessage(request);
    const answered = filledMessage(response);
    secrets += asked.secrets.length + answered.secrets.length;
    for (const grpcStatus of [0, 2]) {
      const call = watch.open({ listener: undefined }, name);
      call.request(asked.bytes);
      call.forwarded(asked.bytes);
      if (grpcStatus === 0) call.response(answered.bytes);
      call.end({ ...end([...asked.secrets, ...answered.secrets].join(" ")), grpcStatus });
    }
  }
  await toFile.close();
  const { body } = await metrics.render();
  const outputs = {
    "call log": await readFile(file, "utf8"),
    log: logged.join(""),
    metrics: body,
    table: createCallTable({ colour: true }).add(records),
  };
  // The secrets were there to be found, and the outputs to hold them.
  expect(secrets).toBeGreaterThan(100);
  for (const [name, text] of Object.entries(outputs)) {
    expect(text, name).toContain("CreateContainer");
    expect(text, name).not.toContain("hunter2");
  }
  expect(outputs["call log"]).toContain("shown-name");
});
