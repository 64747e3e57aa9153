/** What an installation tells the service managers. */
import { expect, test } from "vitest";
import { createFakeFiles } from "../../test/fakes/files.ts";
import type { Exec } from "../host/exec.ts";
import { createServices, detectServices } from "./services.ts";

/** Answers with the exit code of the first rule whose text the command line contains. */
function recording(codes: Readonly<Record<string, number>> = {}) {
  const said: string[] = [];
  const exec: Exec = async (argv) => {
    const line = argv.join(" ");
    said.push(line);
    const rule = Object.keys(codes).find((text) => line.includes(text));
    return { exitCode: rule === undefined ? 0 : (codes[rule] ?? 0), stdout: "", stderr: "why not" };
  };
  return { said, exec };
}

test.each([
  ["systemd", "/run/systemd/system"],
  ["openrc", "/run/openrc"],
  ["none", "/run/other"],
] as const)("%s is known by %s", async (kind, directory) => {
  expect(await detectServices(createFakeFiles({ directories: [directory] }))).toBe(kind);
});

test("systemd starts what does not run, and only that", async () => {
  const { said, exec } = recording({ "is-active --quiet trivet-cri.service": 3 });
  expect(await createServices("systemd", exec).start()).toBe("started trivet-cri.service");
  expect(said.at(-1)).toBe("systemctl start trivet-cri.service");
  const active = recording();
  expect(await createServices("systemd", active.exec).start()).toBe("active");
  expect(active.said.some((line) => line.includes("start"))).toBe(false);
});

test("systemd stops the socket together with the service, which it would start again", async () => {
  const { said, exec } = recording();
  await createServices("systemd", exec).stop();
  expect(said).toEqual(["systemctl stop trivet-cri.socket trivet-cri.service"]);
});

test.each(["systemd", "openrc"] as const)(
  "a reload that fails with %s is an error that says why",
  async (kind) => {
    const { exec } = recording({ reload: 1 });
    await expect(createServices(kind, exec).reload()).rejects.toThrow("why not");
  },
);

test("openrc starts and stops what it must", async () => {
  const { said, exec } = recording({ status: 3 });
  const services = createServices("openrc", exec);
  expect([await services.start(), await services.stop()]).toEqual([
    "started trivet-cri",
    "stopped trivet-cri",
  ]);
  expect(said).toEqual([
    "rc-service trivet-cri status",
    "rc-service trivet-cri start",
    "rc-service trivet-cri status",
  ]);
});

test("with another init nothing is started, and what is to be done is said", async () => {
  const { said, exec } = recording({ status: 1 });
  const services = createServices("none", exec);
  expect(await services.start()).toContain("to do: have the node's init run /opt/trivet/supervise");
  expect(await services.stop()).toBe("does not run");
  expect(said).toEqual(["/opt/trivet/supervise status", "/opt/trivet/supervise status"]);
});

test("with another init the supervisor reloads and stops the proxy", async () => {
  const { said, exec } = recording();
  const services = createServices("none", exec);
  expect([await services.start(), await services.reload()]).toEqual(["active", "reloaded"]);
  expect(await services.stop()).toContain("stopped");
  expect(said.filter((line) => !line.endsWith("status"))).toEqual([
    "/opt/trivet/supervise reload",
    "/opt/trivet/supervise stop",
  ]);
});

test.each([
  ["yes\n\nno\n", true],
  ["no\n\nno\n", false],
])("systemd says whether it has read older units: %j", async (stdout, expected) => {
  const exec: Exec = async () => ({ exitCode: 0, stdout, stderr: "" });
  expect(await createServices("systemd", exec).hasOldDefinitions()).toBe(expected);
});
