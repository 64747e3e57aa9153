/** The snapshots of a pool when it is opened: each is counted, and its limit put back in force where it has one. */
import { join } from "node:path";
import { asTrivetError } from "../../errors.ts";
import type { Files } from "../../host/files.ts";
import type { Log } from "../../observe/log.ts";
import type { PoolBackends } from "../backend/open.ts";
import { forEachBounded } from "../bounded.ts";
import { type PoolLayout, wrapperLayout } from "../pool/layout.ts";
import type { Ledger } from "../pool/ledger.ts";
import { quarantineKey, snapshotKey } from "../pool/trash-name.ts";
import { salvageSize } from "../volume/record.ts";
import { parseSnapshotId } from "./id.ts";
import { asContent, parseSnapshotRecord } from "./record.ts";

/** Records read at once. */
const READS = 16;

/** One pool to be read. */
export interface ScannedSnapshots {
  readonly layout: PoolLayout;
  readonly ledger: Ledger;
  readonly backends: PoolBackends;
}

/** Enters them into the ledger; what cannot be used is set apart, counted, and never deleted. */
export async function scanSnapshots(
  { files, log }: { readonly files: Files; readonly log: Log },
  { layout, ledger, backends }: ScannedSnapshots,
): Promise<void> {
  await forEachBounded(await files.list(layout.snapshots), READS, async ({ name }) => {
    const wrapper = join(layout.snapshots, name);
    const path = wrapperLayout(wrapper).record;
    try {
      const id = parseSnapshotId(name);
      if (!id) throw new Error("its name is no snapshot id: it is not the driver's");
      const record = parseSnapshotRecord(await files.read(path), id);
      ledger.enter(snapshotKey(id), record.sizeBytes);
      await backends.of(record).reinstate({ wrapper, record: asContent(record) });
    } catch (error) {
      const { message } = asTrivetError(error, "pool.scan", name);
      const content = await files.read(path).catch(() => Buffer.alloc(0));
      if (!ledger.entries().has(snapshotKey(name))) ledger.enter(quarantineKey(name), salvageSize(content));
      log.error("snapshot quarantined", { path: wrapper, error: message });
    }
  });
}
