/**
 * The user at the other end of an accepted unix socket. The only native code that the proxy's process may load, and only
 * by a dynamic import when a listener names users: a node whose listeners name none starts without it.
 */
import type { Socket } from "node:net";
import { descriptorOf } from "./descriptor-of.ts";
import type { PeerCredentials } from "./syscall/peer.ts";
import { createSyscalls } from "./syscall.ts";

/** Who connected. Throws `io` for a socket that is closed already. */
export type PeerOf = (socket: Socket) => PeerCredentials;

/** Loads the C library, which takes some 10 ms. */
export function createPeerCredentials(): PeerOf {
  const { peerCredentials } = createSyscalls();
  return (socket) => peerCredentials(descriptorOf(socket));
}
