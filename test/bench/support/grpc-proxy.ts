/**
 * For comparison: a proxy of CRI as a gRPC server and client of grpc-js that pass the messages on as bytes. Started as
 * `node grpc-proxy.ts SOCKET UPSTREAM`; it knows unary methods only.
 */
import {
  Client,
  credentials,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { serviceOf } from "../../fakes/containerd/apis.ts";

const [, , listen = "", upstream = ""] = process.argv;
const unlimited = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };
const client = new Client(`unix:${upstream}`, credentials.createInsecure(), {
  ...unlimited,
  "grpc.default_authority": "localhost",
});
const asItIs = (bytes: Buffer): Buffer => bytes;
const bytes = {
  requestSerialize: asItIs,
  requestDeserialize: asItIs,
  responseSerialize: asItIs,
  responseDeserialize: asItIs,
};

const { service } = serviceOf("runtime", "RuntimeService");
const unary = Object.entries(service).filter(([, { responseStream }]) => !responseStream);
const definition: ServiceDefinition = Object.fromEntries(
  unary.map(([name, method]) => [name, { ...method, ...bytes }]),
);
const forward =
  (path: string): handleUnaryCall<Buffer, Buffer> =>
  (call, respond) => {
    const { request, metadata } = call;
    const deadline = call.getDeadline();
    client.makeUnaryRequest(path, asItIs, asItIs, request, metadata, { deadline }, (error, answer) =>
      respond(error, answer),
    );
  };

const server = new Server(unlimited);
server.addService(definition, Object.fromEntries(unary.map(([name, { path }]) => [name, forward(path)])));
server.bindAsync(`unix:${listen}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
