/** The line that restarts a kubelet is one for the shell, whatever the unit is called; and its last words are found where they are. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { createFakeFiles } from "../../../test/fakes/files.ts";
import type { Exec } from "../../host/exec.ts";
import { lastLogLines, restartCommand } from "./restart.ts";

/** What a shell would start, a line each. */
function startedBy(line: string): string[] {
  const stub = `systemctl() { printf '%s ' systemctl "$@"; echo; }`;
  return execFileSync("sh", ["-c", `${stub}\n${line}`], { encoding: "utf8" })
    .split("\n")
    .map((text) => text.trimEnd())
    .filter(Boolean);
}

test.each(["kubelet.service", "snap.microk8s.daemon-kubelite.service", "it's $HOME\\x2d.service"])(
  "systemd: %s",
  (unit) => {
    expect(startedBy(restartCommand("systemd", unit))).toEqual([
      "systemctl daemon-reload",
      `systemctl reset-failed ${unit}`,
      `systemctl restart ${unit}`,
    ]);
  },
);

test("OpenRC knows it without the ending", () => {
  expect(restartCommand("openrc", "k3s-agent.service")).toBe("rc-service 'k3s-agent' restart");
});

test("without a service manager the command is asked for", () => {
  expect(() => restartCommand("none", "kubelet.service")).toThrow(/--restart-command/);
});

test("the last words come from the file that was named, or from systemd's journal, or not at all", async () => {
  const files = createFakeFiles({ directories: ["/var/log"] });
  const lines = Array.from({ length: 40 }, (_, index) => `line ${index}`);
  await files.create("/var/log/kubelet.log", Buffer.from(`${lines.join("\n")}\n`), 0o640);
  const service = "kubelet.service";
  const journal: Exec = async (argv) => ({ exitCode: 0, stdout: `${argv.at(-1)} says\n`, stderr: "" });
  const none: Exec = () => Promise.reject(new Error("no journalctl"));
  expect(await lastLogLines({ files, exec: none }, { service, log: "/var/log/kubelet.log" })).toEqual(
    lines.slice(-15),
  );
  expect(await lastLogLines({ files, exec: none }, { service, log: "/none" })).toEqual([]);
  expect(await lastLogLines({ files, exec: journal }, { service, log: undefined })).toEqual([
    "kubelet.service says",
  ]);
  expect(await lastLogLines({ files, exec: none }, { service, log: undefined })).toEqual([]);
});
