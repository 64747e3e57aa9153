/** Words, variables and units as systemd takes them, and that a place found in a text is the place of the value. */
import { expect, test } from "vitest";
import { expandCommand, findOrigin } from "./command-line.ts";
import { parseEnvironment, variablesOf } from "./environment-file.ts";
import { orderDropIns, parseService } from "./unit.ts";
import { findFlag, flagOf, plainly, splice, splitWords } from "./words.ts";

const flag = "container-runtime-endpoint";

test.each([
  ["a  b\tc", ["a", "b", "c"]],
  [`'a b' "c d"e`, ["a b", "c de"]],
  [`a\\ b "q\\"q" 'n\\n'`, ["a b", 'q"q', "n\\n"]],
  ["a \\\n  b", ["a", "b"]],
  ["", []],
  [`""`, [""]],
])("%j is the words %j", (text, words) => {
  expect(splitWords(plainly(text)).map((word) => word.text)).toEqual(words);
});

test.each([
  [`kubelet --${flag}=old --x`, `kubelet --${flag}=new --x`],
  [`kubelet --${flag} old`, `kubelet --${flag} new`],
  [`kubelet "--${flag}=old" --x`, `kubelet "--${flag}=new" --x`],
  [`kubelet --${flag}='old'`, `kubelet --${flag}='new'`],
  [`--${flag}=first --${flag}=old`, `--${flag}=first --${flag}=new`],
  [`--${flag}= --x`, `--${flag}=new --x`],
  [`--${flag}-else=no --${flag}=\\o\\l\\d`, `--${flag}-else=no --${flag}=\\new`],
])("in %j only the value is replaced", (text, replaced) => {
  const place = findFlag(splitWords(plainly(text)), flag);
  if (!place) throw new Error("the flag was not found");
  expect(splice(text, place, "new")).toBe(replaced);
});

test("of arguments the last one holds, and a flag without a value has none", () => {
  expect(flagOf(["k", "--a=1", "--a", "2"], "a")).toBe("2");
  expect(flagOf(["k", "--a"], "a")).toBeUndefined();
  expect(flagOf(["k", "a=1"], "a")).toBeUndefined();
});

test.each([
  ["A=1\nB=2\n", { A: "1", B: "2" }],
  ["# A=1\n; B=2\n\nnothing\nC=3", { C: "3" }],
  [`A="x y" \nB='it is'\n`, { A: "x y", B: "it is" }],
  ["A=x \\\n  y\nB=z", { A: "x   y", B: "z" }],
  [`export A="x\ny"\nB=1`, { A: "x\ny", B: "1" }],
  ["A=x y  \n", { A: "x y" }],
  ["A=\nA=2\n", { A: "2" }],
])("%j sets %j", (text, variables) => {
  const found = [...variablesOf(text)].map(([key, { text: value }]) => [key, value]);
  expect(Object.fromEntries(found)).toEqual(variables);
});

test("each character of a variable's value knows its place in the file", () => {
  const text = `X=1\nA="a\\"b" # c\n`;
  for (const { value } of parseEnvironment(text)) {
    expect(value.at.map((index) => text[index]).join("")).toBe(value.text);
  }
});

test("an empty ExecStart= starts anew, and of drop-ins with one name the stronger directory's counts", () => {
  const paths = [
    "/usr/lib/systemd/system/k.service.d/20-b.conf",
    "/etc/systemd/system/k.service.d/20-b.conf",
    "/run/systemd/system/k.service.d/10-a.conf",
    "/etc/systemd/system/k.service.d/notes.txt",
  ];
  expect(orderDropIns(paths)).toEqual([
    "/run/systemd/system/k.service.d/10-a.conf",
    "/etc/systemd/system/k.service.d/20-b.conf",
  ]);
  const text = "[Service]\nExecStart=/a\nEnvironmentFile=-/e\nEnvironment=A=1 'B=2 3'\n";
  const override =
    "[Unit]\nExecStart=/no\n[Service]\n# ExecStart=/no\nExecStart=\nExecStart=/b \\\n # a comment\n  --c\n";
  const service = parseService(
    [text, override].map((content, index) => ({ path: `/${index}`, text: content })),
  );
  expect(service.commands).toEqual(["/b --c"]);
  expect(service.environmentFiles).toEqual(["/e"]);
  expect(Object.fromEntries(service.environment)).toEqual({ A: "1", B: "2 3" });
});

test("a file's variable goes over the unit's, $NAME is split into words, and a name in braces stays one", () => {
  const service = parseService([
    {
      path: "/k.service",
      text: `[Service]\nEnvironment="A=--x" "B=1 2"\nEnvironmentFile=/e\nExecStart=/k $A --b=\${B} $NONE --${flag}=\${B}\n`,
    },
  ]);
  const words = expandCommand(service, new Map([["/e", `A="--y=1 '--z=2 3'"\n`]]));
  expect(words.map(({ text }) => text)).toEqual(["/k", "--y=1", "--z=2 3", "--b=1 2", `--${flag}=1 2`]);
  expect(findOrigin(words, "z")).toMatchObject({
    value: "2 3",
    origin: { kind: "environment-file", path: "/e" },
  });
  // What was put in lies in another text: it cannot be replaced there.
  expect(findOrigin(words, flag)).toMatchObject({ origin: { kind: "command" }, start: -1 });
});
