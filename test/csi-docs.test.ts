/** The documentation of the CSI driver has the rows of its tables from the code. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parameterRows } from "../src/csi/parameters.ts";

test.each(parameterRows)("docs/csi.md has the row of the parameter $key as the code has it", async (row) => {
  const docs = await readFile(new URL("../docs/csi.md", import.meta.url), "utf8");
  expect(docs).toContain(`| \`${row.key}\` | ${row.values} | ${row.default} | ${row.meaning} |\n`);
});
