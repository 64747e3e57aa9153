/**
 * The runtime of the benchmark, a process of its own: `node cri-runtime.ts SOCKET`. It answers at once, lists 330 containers,
 * and tells in the id of a new container how long the request was, so that the benchmark sees whether it was changed.
 */
import { createServer, type ServerHttp2Stream } from "node:http2";
import { bytesField } from "../../../src/cri/wire/encode.ts";
import { containerList, framed, idOf } from "./cri-messages.ts";

const counters = { pods: 0 };
const listAnswer = framed(containerList());
const smallAnswer = framed(bytesField(1, "0.1.0"));

function answerTo(method: string | undefined, requestBytes: number): Buffer {
  if (method === "ListContainers") return listAnswer;
  if (method === "RunPodSandbox") return framed(bytesField(1, idOf("s", counters.pods++)));
  if (method === "CreateContainer") return framed(bytesField(1, idOf("c", requestBytes)));
  return smallAnswer;
}

function serve(stream: ServerHttp2Stream, path: string): void {
  let bytes = 0;
  stream.on("error", () => undefined);
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  stream.on("end", () => {
    if (stream.destroyed) return; // a call that a policy refused
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(answerTo(path.split("/").at(-1), bytes));
  });
}

createServer()
  .on("stream", (stream, headers) => serve(stream, String(headers[":path"])))
  .listen(process.argv[2]);
