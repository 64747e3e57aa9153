/** The services of the three APIs, parsed once a process: a test makes many clients and servers. */
import type { ServiceClientConstructor } from "@grpc/grpc-js";
import { type Api, loadServices } from "../../../src/host/proto.ts";

const loaded = new Map<Api, ReturnType<typeof loadServices>>();

/** One service of an API, by name. Throws if the API has none of that name. */
export function serviceOf(api: Api, name: string): ServiceClientConstructor {
  const service = servicesOf(api)[name];
  if (!service) throw new Error(`the ${api} API has no service ${name}`);
  return service;
}

/** Every service of an API. The package's messages and enums are left out. */
export function servicesOf(api: Api): Readonly<Record<string, ServiceClientConstructor>> {
  let services = loaded.get(api);
  if (!services) {
    const entries = Object.entries(loadServices(api));
    services = Object.fromEntries(
      entries.filter(([, value]) => typeof value === "function" && "service" in value),
    );
    loaded.set(api, services);
  }
  return services;
}
