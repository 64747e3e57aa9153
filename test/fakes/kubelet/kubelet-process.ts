/**
 * A kubelet as a process: it reads its flags and configuration files by itself, asks its runtime what a kubelet asks at its start, polls
 * it ever after, and serves its health check. Behaves badly if the file in KUBELET_BEHAVIOUR says so, with the socket's path as argument:
 * `sick PATH` is never healthy on that socket, `stuck PATH` uses that socket whatever it is told, `dead PATH` ends when it is told that one.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parse } from "yaml";
import { connectCri } from "./cri-client.ts";
import { startPolls, validateRuntime } from "./polls.ts";

interface Settings {
  readonly containerRuntimeEndpoint?: string;
  readonly healthzPort?: number;
}

const argv = process.argv.slice(2);

/** As the kubelet has it: of a flag that is given twice the last one holds. */
function flag(name: string): string | undefined {
  const at = argv.findLastIndex((word) => word === `--${name}` || word.startsWith(`--${name}=`));
  const word = argv[at];
  return word?.includes("=") ? word.slice(word.indexOf("=") + 1) : at < 0 ? undefined : argv[at + 1];
}

function readSettings(): Settings {
  const [file, directory] = [flag("config"), flag("config-dir")];
  const dropIns =
    directory === undefined
      ? []
      : readdirSync(directory)
          .filter((name) => name.endsWith(".conf"))
          .sort();
  const paths = [
    ...(file === undefined ? [] : [file]),
    ...dropIns.map((name) => join(directory ?? "", name)),
  ];
  return Object.assign({}, ...paths.map((path) => parse(readFileSync(path, "utf8")) as Settings));
}

const log = (line: string) => process.stderr.write(`kubelet: ${line}\n`);

const settings = readSettings();
const told = flag("container-runtime-endpoint") ?? settings.containerRuntimeEndpoint;
if (told === undefined) throw new Error("no endpoint is given, and the default one is this machine's own");
const behaviourFile = process.env.KUBELET_BEHAVIOUR ?? "";
const [behaviour, where = ""] = existsSync(behaviourFile)
  ? readFileSync(behaviourFile, "utf8").trim().split(" ")
  : [];
const toldPath = told.replace("unix://", "");
const path = behaviour === "stuck" ? where : toldPath;
log(`using ${path}`);
if (behaviour === "dead" && path === where) {
  log("cannot live with this runtime");
  process.exit(1);
}
const cri = connectCri({ path });
await validateRuntime(cri);
startPolls(cri, { onError: (method, error) => log(`${method} failed: ${(error as Error).message}`) });
const isSick = behaviour === "sick" && path === where;
createServer((request, response) => {
  const isHealth = request.url === "/healthz" && !isSick;
  response.writeHead(isHealth ? 200 : 500).end(isHealth ? "ok" : "sick");
}).listen(Number(flag("healthz-port") ?? settings.healthzPort ?? 10_248), "127.0.0.1", () => log("healthy"));
process.on("SIGTERM", () => process.exit(0));
