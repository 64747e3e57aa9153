/** A tap in a process of its own, whose memory a test can look at: `tap-process.ts LISTEN UPSTREAM`. It reads every answer but
 * those of `/t.T/Unread`. */
import { createServer } from "node:net";
import { createProxy } from "../../src/cri/tap/proxy.ts";
import { silentLog } from "../../src/observe/log.ts";

/** What it answers to any message of its parent. */
export interface TapReport {
  /** The most that was resident since the last report, and what is now, after a collection. */
  readonly peakMiB: number;
  readonly nowMiB: number;
  readonly connections: number;
  readonly streams: number;
  readonly heldBytes: number;
  readonly answersRead: number;
}

const SAMPLE_MS = 10;
const MIB = 1 << 20;
const [path = "", upstreamPath = ""] = process.argv.slice(2);
const rssMiB = () => process.memoryUsage.rss() / MIB;

let peakMiB = 0;
let answersRead = 0;
setInterval(() => {
  peakMiB = Math.max(peakMiB, rssMiB());
}, SAMPLE_MS);

const proxy = createProxy({
  upstreamPath,
  log: silentLog,
  hooks: {
    onRequest: ({ path: method }) => ({
      hold: true,
      observeResponse: method !== "/t.T/Unread",
      call: {
        edit: () => ({ action: "forward" }),
        onResponse: () => {
          answersRead++;
        },
        onEnd: () => undefined,
      },
    }),
  },
});
createServer({ allowHalfOpen: true }, (socket) => proxy.accept(socket)).listen(path, () =>
  process.send?.("ready"),
);
process.on("message", () => {
  globalThis.gc?.();
  const report: TapReport = {
    peakMiB: Math.max(peakMiB, rssMiB()),
    nowMiB: rssMiB(),
    ...proxy.stats(),
    answersRead,
  };
  peakMiB = 0;
  process.send?.(report);
});
process.on("disconnect", () => process.exit());
