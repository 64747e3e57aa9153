/** The documentation of the CSI driver has the rows of its tables from the code. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { parameterRows, parseParameters } from "../src/csi/parameters.ts";

test.each(parameterRows)("docs/csi.md has the row of the parameter $key as the code has it", async (row) => {
  const docs = await readFile(new URL("../docs/csi.md", import.meta.url), "utf8");
  expect(docs).toContain(`| \`${row.key}\` | ${row.values} | ${row.default} | ${row.meaning} |\n`);
});

/** The YAML of the page, document by document. */
async function documents(): Promise<Record<string, unknown>[]> {
  const docs = await readFile(new URL("../docs/csi.md", import.meta.url), "utf8");
  const blocks = [...docs.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text ?? "");
  return blocks.flatMap((text) =>
    parseAllDocuments(text).map((document) => document.toJS() as Record<string, unknown>),
  );
}

/** What external-provisioner tells with `--extra-create-metadata`. */
const metadata = {
  "csi.storage.k8s.io/pvc/name": "db",
  "csi.storage.k8s.io/pvc/namespace": "shop",
  "csi.storage.k8s.io/pv/name": "pvc-1",
};

test("docs/csi.md has a class for each parameter, and every class in it is one that the driver takes", async () => {
  const shown = new Set<string>();
  for (const { kind, parameters } of await documents()) {
    if (parameters === undefined || kind === "VolumeSnapshotClass") continue;
    parseParameters({ ...(parameters as Record<string, string>), ...metadata });
    if (kind === "StorageClass") for (const key of Object.keys(parameters as object)) shown.add(key);
  }
  expect([...shown].sort()).toEqual(parameterRows.map(({ key }) => key).sort());
});
