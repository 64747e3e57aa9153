/**
 * For comparison: a proxy of CRI that ends HTTP/2 on both sides and pipes the streams, with node:http2 alone. Started as
 * `node http2-proxy.ts SOCKET UPSTREAM`.
 */
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket } from "node:net";

const [, , listen = "", upstream = ""] = process.argv;
const toUpstream = new WeakMap<ServerHttp2Session, ClientHttp2Session>();

function sessionFor(client: ServerHttp2Session): ClientHttp2Session {
  const known = toUpstream.get(client);
  if (known) return known;
  const session = connect("http://localhost", { createConnection: () => connectSocket(upstream) });
  session.on("error", () => client.destroy());
  client.on("close", () => session.close());
  toUpstream.set(client, session);
  return session;
}

function forward(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const { session } = stream;
  if (!session) return;
  const request = sessionFor(session as ServerHttp2Session).request(headers);
  let trailers: IncomingHttpHeaders = {};
  request.on("response", (response) => stream.respond(response, { waitForTrailers: true }));
  request.on("trailers", (received) => {
    trailers = received;
  });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  stream.on("aborted", () => request.close(constants.NGHTTP2_CANCEL));
  stream.on("error", () => request.close(constants.NGHTTP2_CANCEL));
  request.on("error", () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  stream.pipe(request);
  request.pipe(stream);
}

createServer().on("stream", forward).listen(listen);
