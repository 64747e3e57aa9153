/** Which links enable a unit, and that they are journalled like every file. */
import { expect, test } from "vitest";
import { createFakeFiles } from "../../test/fakes/files.ts";
import { createJournal } from "./journal.ts";
import { enablementLinks, putUnits, readUnits } from "./units.ts";

test.each([
  [
    "WantedBy",
    "[Install]\nWantedBy=a.target b.target\n",
    ["a.target.wants/x.service", "b.target.wants/x.service"],
  ],
  ["RequiredBy", "[Install]\nRequiredBy = kubelet.service\n", ["kubelet.service.requires/x.service"]],
  ["Alias", "[Install]\nAlias=y.service\n", ["y.service"]],
  [
    "a line that goes on",
    "[Install]\nWantedBy=a.target \\\n  b.target\n",
    ["a.target.wants/x.service", "b.target.wants/x.service"],
  ],
  ["a comment", "[Install]\n# WantedBy=a.target\n", []],
  ["the same key in another section", "[Unit]\nWantedBy=a.target\n[Install]\nAlso=x.socket\n", []],
])("%s", (_title, text, links) => {
  expect(enablementLinks({ name: "x.service", text })).toEqual(links);
});

test("units and their links are put in place, again without a change, and away again", async () => {
  const files = createFakeFiles({ directories: ["/carried", "/etc", "/var/lib"] });
  await files.create("/carried/x.service", Buffer.from("[Install]\nWantedBy=a.target\n"), 0o600);
  await files.create("/carried/README", Buffer.from("no unit"), 0o600);
  const before = files.paths();
  const journal = createJournal({ files, stateDir: "/var/lib/trivet" });
  const units = await readUnits(files, "/carried");
  const unit = "/etc/systemd/system/x.service";
  const link = "/etc/systemd/system/a.target.wants/x.service";
  const put = async (dryRun = false) =>
    (await putUnits({ journal, units, dryRun })).map(({ outcome }) => outcome);
  expect(await put(true)).toEqual(["written", "written"]);
  expect(files.paths()).toEqual(before);
  expect(await put()).toEqual(["written", "written"]);
  expect(await files.readLink(link)).toBe(unit);
  expect(await put()).toEqual(["unchanged", "unchanged"]);
  await journal.restore({ owner: "units" });
  expect(files.paths()).toEqual(before);
});
