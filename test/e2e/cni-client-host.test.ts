/** The static client on hosts that lack something which it uses: it must find the standalone plugin all the same, and at once. */
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installClient, runPlugin } from "./support/cni-client.ts";

const directory = mkdtempSync(join(tmpdir(), "trivet-client-host-"));
const conf = JSON.stringify({ cniVersion: "1.0.0", name: "pods", socket: join(directory, "none.sock") });
const env = { CNI_COMMAND: "ADD" };
const script = "#!/bin/sh\necho standalone\n";
let client: string;

function writeProgram(path: string): void {
  writeFileSync(path, script);
  chmodSync(path, 0o755);
}

beforeAll(() => {
  expect(process.getuid?.(), "these tests need root").toBe(0);
  writeProgram(join(directory, "program"));
  client = installClient(join(directory, "bin"), join(directory, "program"));
});
afterAll(() => rmSync(directory, { recursive: true }));

test("the file that names the standalone plugin needs no line end", async () => {
  writeFileSync(join(directory, "bin/.trivet-standalone"), join(directory, "program"));
  expect(await runPlugin(client, { env, stdin: conf })).toMatchObject({
    exitCode: 0,
    stdout: "standalone\n",
  });
});

test("where no turn can be taken, as without /proc or on NFS, nobody waits for one", async () => {
  const root = join(directory, "root");
  for (const path of ["bin", "opt/trivet/current/bin"]) mkdirSync(join(root, path), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/sh"));
  copyFileSync(client, join(root, "trivet"));
  writeProgram(join(root, "opt/trivet/current/bin/trivet"));
  const answer = await runPlugin("/trivet", { env, stdin: conf, before: ["chroot", root] });
  expect(answer).toMatchObject({ exitCode: 0, stdout: "standalone\n" });
});
