/** The client of the benchmark: unary gRPC calls with node:http2, which saturates at some 15,000 calls a second. */
import { type ClientHttp2Session, connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type Call, framed, version } from "./cri-messages.ts";

const TRIES = 200;
const RETRY_MS = 50;

/** The response's DATA, gRPC's prefix included. Rejects for any status but OK. */
export function callOnce(session: ClientHttp2Session, { method, message }: Call): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": `/runtime.v1.RuntimeService/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      // As of a kubelet: another one in each call.
      "grpc-timeout": `${119_000 + Math.floor(performance.now() % 1_000)}m`,
    });
    const chunks: Buffer[] = [];
    let status: unknown;
    let text: unknown;
    const look = (headers: Record<string, unknown>) => {
      status = headers["grpc-status"] ?? status;
      text = headers["grpc-message"] ?? text;
    };
    stream.on("error", reject);
    stream.on("response", look);
    stream.on("trailers", look);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      if (status === "0") resolve(Buffer.concat(chunks));
      else reject(new Error(`${method}: status ${String(status)} ${String(text ?? "")}`));
    });
    stream.end(framed(message));
  });
}

/** Connects as soon as somebody answers at the socket. */
export async function dial(path: string): Promise<ClientHttp2Session> {
  for (let tries = 0; ; tries += 1) {
    const session = connect("http://localhost", { createConnection: () => connectSocket(path) });
    session.on("error", () => undefined);
    try {
      await callOnce(session, version);
      return session;
    } catch (error) {
      session.destroy();
      if (tries >= TRIES) throw error;
      await pause(RETRY_MS);
    }
  }
}
