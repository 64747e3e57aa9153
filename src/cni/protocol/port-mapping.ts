/** Host ports as the runtime asks for them through the capability `portMappings` (CONVENTIONS.md of the specification). */

/** Transport protocols that a host port can have. */
export const portProtocols = ["tcp", "udp", "sctp"] as const;
/** In lower case, whatever the runtime wrote. */
export type PortProtocol = (typeof portProtocols)[number];

/** One port of the host that leads to one of the pod. Ports are 1 to 65535. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: PortProtocol;
  /** One address of the host, in canonical form; undefined for all of both families. */
  readonly hostIp: string | undefined;
}
