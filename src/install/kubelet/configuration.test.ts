/** KubeletConfiguration is changed where it must be, and nowhere else. */
import { expect, test } from "vitest";
import { parseConfiguration, setField } from "./configuration.ts";
import { unifiedDiff } from "./diff.ts";

const set = (text: string) =>
  setField(text, "/k.yaml", { field: "containerRuntimeEndpoint", value: "unix:///run/p.sock" });
const wanted = "containerRuntimeEndpoint: unix:///run/p.sock";

test.each([
  [
    "a value is replaced",
    "a: 1\ncontainerRuntimeEndpoint: unix:///x  # why\nb: 2\n",
    `a: 1\n${wanted}  # why\nb: 2\n`,
  ],
  [
    "quotes stay",
    "containerRuntimeEndpoint: 'unix:///x'\n",
    "containerRuntimeEndpoint: 'unix:///run/p.sock'\n",
  ],
  ["an empty value is filled", "containerRuntimeEndpoint:\na: 1\n", `${wanted}\na: 1\n`],
  [
    "an empty text is filled",
    'containerRuntimeEndpoint: ""\n',
    'containerRuntimeEndpoint: "unix:///run/p.sock"\n',
  ],
  [
    "a key in quotes is found",
    '"containerRuntimeEndpoint": unix:///x\n',
    '"containerRuntimeEndpoint": unix:///run/p.sock\n',
  ],
  [
    "a missing one comes before the first",
    "# head\n---\na: 1\nb:\n  - 2",
    `# head\n---\n${wanted}\na: 1\nb:\n  - 2`,
  ],
  ["line ends stay", "a: 1\r\nb: 2\r\n", `${wanted}\r\na: 1\r\nb: 2\r\n`],
  ["JSON on one line", '{"a": 1}', '{"containerRuntimeEndpoint": "unix:///run/p.sock","a": 1}'],
  ["empty JSON", "{}\n", '{"containerRuntimeEndpoint": "unix:///run/p.sock"}\n'],
  [
    "the same name deeper is another's",
    "a:\n  containerRuntimeEndpoint: x\n",
    `${wanted}\na:\n  containerRuntimeEndpoint: x\n`,
  ],
])("%s", (_, before, after) => {
  expect(set(before)).toBe(after);
  expect(set(after)).toBe(after);
});

test.each([
  ["a: [", /is no YAML/],
  ["- a\n", /holds no KubeletConfiguration/],
  ["", /holds no KubeletConfiguration/],
  ["a: 1\na: 2\n", /is no YAML/],
])("%j is refused", (text, says) => {
  expect(() => parseConfiguration(text, "/k.yaml")).toThrow(says);
  expect(() => set(text)).toThrow(says);
});

test("an endpoint that would need quotes is refused", () => {
  const edit = { field: "imageServiceEndpoint", value: "unix:///a: b" } as const;
  expect(() => setField("a: 1\n", "/k.yaml", edit)).toThrow(/cannot be an endpoint/);
});

test("a diff has three lines around each change, and both ends of far ones", () => {
  const before = Array.from({ length: 20 }, (_, index) => `${index}\n`).join("");
  const after = before.replace("2\n", "two\n").replace("18\n", "").concat("end");
  expect(unifiedDiff("/f", before, after)).toBe(
    "--- /f\n+++ /f\n@@ -1,6 +1,6 @@\n 0\n 1\n-2\n+two\n 3\n 4\n 5\n@@ -16,5 +16,5 @@\n 15\n 16\n 17\n-18\n 19\n+end\n\\ No newline at end of file\n",
  );
  expect(unifiedDiff("/f", undefined, "a\n")).toBe("--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n");
  expect(unifiedDiff("/f", "a\n", "a\n")).toBe("");
});
