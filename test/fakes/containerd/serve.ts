/** Puts the methods on a grpc-js server: recording, faults and statuses around each of them, once for all. */
import {
  Metadata,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import type { Faults } from "./faults.ts";
import type { CallContext, Handlers } from "./handlers.ts";
import { mergeOccurrences } from "./merge-occurrences.ts";
import type { Message } from "./messages.ts";
import { metadataToRecord, type RecordedCall, type Recorder } from "./requests.ts";
import { StatusError, status, toStatus } from "./status.ts";

export interface Serving {
  readonly service: { readonly name: string; readonly definition: ServiceDefinition };
  readonly handlers: Handlers;
  /** Answered in grpc-go's words for a method that it does not know. */
  readonly unimplemented: readonly string[];
  readonly requests: Recorder;
  readonly faults: Faults;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
}

/** A request as its bytes and decoded: what our deserializer gives to the handlers. */
interface Arrived {
  readonly raw: Buffer;
  readonly value: Message;
}

type AnyCall = ServerUnaryCall<Arrived, Message> | ServerWritableStream<Arrived, Message>;

/** Registers every method of one service. */
export function serveMethods(server: Server, serving: Serving): void {
  const { definition, name } = serving.service;
  const keeping: Record<string, ServiceDefinition[string]> = {};
  const implementation: Record<string, UntypedHandleCall> = {};
  for (const [method, stub] of Object.entries(definition)) {
    const { name: type } = (stub as MethodDefinition<object, object>).requestType.type as {
      readonly name: string;
    };
    const decode = (raw: Buffer) => stub.requestDeserialize(Buffer.from(mergeOccurrences(type, raw)));
    keeping[method] = {
      ...stub,
      requestDeserialize: (raw: Buffer): Arrived => ({ raw, value: decode(raw) }),
    };
    implementation[method] = stub.responseStream
      ? serveStream(serving, `${name}/${method}`)
      : serveUnary(serving, `${name}/${method}`);
  }
  server.addService(keeping, implementation);
}

interface Arrival {
  readonly record: RecordedCall;
  readonly context: CallContext;
}

function arrive({ requests, stopping }: Serving, fullName: string, call: AnyCall): Arrival {
  const [service = "", method = ""] = fullName.split("/");
  const deadline = call.getDeadline();
  const record: RecordedCall = {
    service,
    method,
    raw: call.request.raw,
    request: call.request.value,
    metadata: metadataToRecord(call.metadata),
    authority: call.getHost(),
    deadlineMs: Number(deadline) - Date.now(),
    code: undefined,
    cancelled: false,
  };
  requests.add(record);
  const cancel = new AbortController();
  call.on("cancelled", () => {
    if (record.code === undefined) record.cancelled = true;
    cancel.abort();
  });
  return { record, context: { signal: AbortSignal.any([cancel.signal, stopping]) } };
}

function unknownMethod(record: RecordedCall): StatusError {
  return new StatusError(
    status.UNIMPLEMENTED,
    `unknown method ${record.method} for service runtime.v1.${record.service}`,
  );
}

function serveUnary(serving: Serving, fullName: string): UntypedHandleCall {
  return (call: ServerUnaryCall<Arrived, Message>, callback: sendUnaryData<Message>) => {
    const { record, context } = arrive(serving, fullName, call);
    const handler = serving.handlers.unary[record.method];
    const work = async () => {
      if (!handler || serving.unimplemented.includes(record.method)) throw unknownMethod(record);
      return handler(record.request, context);
    };
    const faulted = { method: record.method, request: record.request, signal: context.signal };
    serving.faults.run(faulted, work).then(
      (response) => {
        record.code = status.OK;
        callback(null, response);
      },
      (error: unknown) => {
        const failure = toStatus(error);
        record.code = failure.code;
        callback(failure);
      },
    );
  };
}

function serveStream(serving: Serving, fullName: string): UntypedHandleCall {
  return (call: ServerWritableStream<Arrived, Message>) => {
    const { record, context } = arrive(serving, fullName, call);
    const handler = serving.handlers.stream[record.method];
    const work = async () => {
      if (!handler || serving.unimplemented.includes(record.method)) throw unknownMethod(record);
      // Headers at once, as grpc-go sends them: a subscriber learns that it is subscribed before the first event.
      call.sendMetadata(new Metadata());
      for await (const message of handler(record.request, context)) {
        if (!call.write(message)) await drained(call, context.signal);
      }
    };
    const faulted = { method: record.method, request: record.request, signal: context.signal };
    serving.faults.run(faulted, work).then(
      () => {
        record.code = status.OK;
        call.end();
      },
      (error: unknown) => {
        const failure = toStatus(error);
        record.code = failure.code;
        call.emit("error", failure);
      },
    );
  };
}

function drained(call: ServerWritableStream<Arrived, Message>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    call.once("drain", resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
