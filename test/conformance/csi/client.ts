/** A gRPC client of one driver's socket: promises instead of callbacks, and requests with only what is set. */
import { type Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { loadServices } from "../../../src/host/proto.ts";

const DEADLINE_MS = 10_000;

type Method = (
  request: object,
  options: { deadline: number },
  done: (error: ServiceError | null, response: unknown) => void,
) => unknown;

/** How a call failed, as the caller sees it. */
export interface Refused {
  readonly code: string;
  readonly details: string;
}

export interface CsiClient {
  /** The response; rejects with grpc-js's own error. */
  call<Response>(service: string, method: string, request?: object): Promise<Response>;
  /** The failure; throws if the call succeeds. */
  refused(service: string, method: string, request?: object): Promise<Refused>;
  /** The methods that the specification gives a service. */
  methods(service: string): readonly string[];
  close(): void;
}

/** Connects as kubelets and sidecars do, with the authority `localhost`. */
export function createCsiClient(path: string, deadlineMs = DEADLINE_MS): CsiClient {
  const services = loadServices("csi");
  const clients = new Map<string, Client>();
  const clientOf = (service: string): Client => {
    const Constructor = services[service];
    if (!Constructor) throw new Error(`no service ${service}`);
    const options = { "grpc.default_authority": "localhost" };
    const client =
      clients.get(service) ?? new Constructor(`unix:${path}`, credentials.createInsecure(), options);
    clients.set(service, client);
    return client;
  };
  const call = <Response>(service: string, method: string, request: object = {}) =>
    new Promise<Response>((resolve, reject) => {
      const client = clientOf(service);
      const send = (client as unknown as Record<string, Method>)[method];
      if (!send) throw new Error(`no method ${service}.${method}`);
      send.call(client, request, { deadline: Date.now() + deadlineMs }, (error, response) => {
        if (error) reject(error);
        else resolve(response as Response);
      });
    });
  return {
    call,
    async refused(service, method, request) {
      try {
        await call(service, method, request);
      } catch (error) {
        const { code, details } = error as ServiceError;
        return { code: status[code], details };
      }
      throw new Error(`${service}.${method} succeeded where it had to be refused`);
    },
    methods: (service) => Object.keys(services[service]?.service ?? {}),
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}
