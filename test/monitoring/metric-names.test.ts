/** The alerts and the dashboard ask for metrics that exist, by the labels that they have: both processes are scraped for real. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { createDaemon, type Daemon, socketAnswers } from "../../src/commands/demo/daemon.ts";
import { type FakeContainerd, startFakeContainerd } from "../fakes/containerd/server.ts";
import { connectCri } from "../fakes/kubelet/cri-client.ts";

const folder = new URL("../../daemonset/monitoring/", import.meta.url);
const read = (name: string) => readFile(new URL(name, folder), "utf8");

let root: string;
let containerd: FakeContainerd;
const daemons: Daemon[] = [];
let scraped = "";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "trivet-metrics-"));
  containerd = await startFakeContainerd({ path: join(root, "containerd.sock") });
  const [nodePort, criPort] = [await freePort(), await freePort()];
  const address = (port: number) => `127.0.0.1:${port}`;
  const node = createDaemon({
    args: [
      ...["node", "--node-id", "n", "--kubelet-root", join(root, "kubelet"), "--register", "--no-kubernetes"],
      ...["--state-dir", join(root, "state"), "--cni-socket", `unix://${root}/cni.sock`],
      ...["--cni-state-dir", join(root, "cni"), "--health-address", address(nodePort)],
    ],
    logFile: join(root, "node.log"),
    ready: socketAnswers(join(root, "cni.sock")),
  });
  const cri = createDaemon({
    args: [
      ...["cri", "--listen", `unix://${root}/cri.sock`, "--upstream", `unix://${containerd.path}`],
      ...["--metrics-address", address(criPort)],
    ],
    logFile: join(root, "cri.log"),
    ready: socketAnswers(join(root, "cri.sock")),
  });
  daemons.push(node, cri);
  await Promise.all(daemons.map((daemon) => daemon.start()));
  const client = connectCri({ path: join(root, "cri.sock") });
  await client.call("Version");
  client.close();
  for (const port of [nodePort, criPort]) {
    scraped += await (await fetch(`http://${address(port)}/metrics`)).text();
  }
}, 60_000);

afterAll(async () => {
  for (const daemon of daemons) await daemon.stop();
  await containerd.stop();
  await rm(root, { recursive: true, force: true });
});

/** Made by Prometheus itself, for every target. */
const ofPrometheus = new Set(["up"]);

/** Metrics in a PromQL expression, histograms without the ending of their series. */
function metricsIn(expression: string): string[] {
  const names = expression.match(/\b(trivet_[a-z_]+|process_[a-z_]+|up)\b/g) ?? [];
  return names.map((name) => name.replace(/_bucket$/, ""));
}

function expectKnown(expressions: readonly string[]): void {
  const known = new Set([...scraped.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name ?? ""));
  expect(expressions.length).toBeGreaterThan(5);
  for (const expression of expressions) {
    const names = metricsIn(expression);
    expect(names, expression).not.toEqual([]);
    for (const name of names) if (!ofPrometheus.has(name)) expect([...known], expression).toContain(name);
  }
}

test("every alert asks for metrics that exist, and says what is wrong and where to look", async () => {
  type Rule = { alert: string; expr: string; annotations: { summary: string; description: string } };
  const { groups } = parse(await read("alerts.yaml")) as { groups: { rules: Rule[] }[] };
  const rules = groups.flatMap((group) => group.rules);
  expectKnown(rules.map(({ expr }) => expr));
  for (const { annotations } of rules) {
    for (const text of [annotations.summary, annotations.description]) expect(text).toMatch(/\w+/);
  }
});

test("every panel of the dashboard asks for metrics that exist", async () => {
  type Panel = { targets?: { expr: string }[] };
  const { panels } = JSON.parse(await read("dashboard.json")) as { panels: Panel[] };
  expectKnown(panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)));
});

test("the scrape configuration has the ports that the processes listen on", async () => {
  const { scrape_configs } = parse(await read("scrape.yaml")) as {
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
  };
  expect(
    scrape_configs.map(({ job_name, static_configs }) => [job_name, static_configs[0]?.targets[0]]),
  ).toEqual([
    ["trivet-node", "127.0.0.1:9808"],
    ["trivet-cri", "127.0.0.1:9809"],
  ]);
});
