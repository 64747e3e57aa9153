/**
 * One netlink socket: sends requests, several at once, and gathers answers. The kernel works a request off inside
 * send(2) and queues the answer before it returns, so reading never waits: a missing answer is an error at once.
 */
import { TrivetError } from "../../errors.ts";
import { errnoError, errnoName } from "../errno.ts";
import type { Syscalls } from "../syscall.ts";
import {
  decodeDatagram,
  encodeMessage,
  type NetlinkAck,
  type NetlinkMessage,
  type NetlinkReply,
  NLM_F_ACK,
  NLM_F_DUMP,
} from "./codec.ts";

/** The system calls of a socket that is never bound: the kernel gives it an address at its first send. */
export type SocketSyscalls = Pick<
  Syscalls,
  "socket" | "setsockopt" | "send" | "sendAsync" | "recv" | "close"
>;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_DONTWAIT = 0x40;
/** The kernel never fills more than this in one dump datagram (NLMSG_GOODSIZE is bounded by 32 KiB). */
const RECEIVE_BYTES = 65_536;
/** One for all: receiving never waits, and what came is copied out of it. A new one each time would be 64 KB of garbage a question. */
const receiveBuffer = Buffer.alloc(RECEIVE_BYTES);

/** Protocols of AF_NETLINK (linux/netlink.h). */
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

/** The outcome of one request of a batch. */
export interface NetlinkOutcome {
  readonly replies: readonly NetlinkReply[];
  readonly ack: NetlinkAck;
}

/** How one exchange is done. */
export interface ExchangeOptions {
  /** The kernel takes long over it: it must not happen on the event loop. */
  readonly slow?: boolean;
  /** The header of a dump is a filter: what it does not name is left out by the kernel. */
  readonly strict?: boolean;
}

/** One socket of one protocol. */
export interface NetlinkConnection {
  /**
   * Sends all messages in one datagram, and gives their outcomes in order. The kernel goes on after a failing
   * message: what depends on an earlier one belongs into a later call.
   */
  exchange(messages: readonly NetlinkMessage[], options?: ExchangeOptions): Promise<NetlinkOutcome[]>;
  close(): void;
}

/** A socket in the network namespace that this thread is in right now. Synchronous, as `setns` demands it. */
export function openNetlink(syscalls: SocketSyscalls, protocol: number): NetlinkConnection {
  const fd = syscalls.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol);
  const one = Buffer.from([1, 0, 0, 0]);
  try {
    syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, one);
    syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, one);
  } catch (error) {
    syscalls.close(fd);
    throw error;
  }
  let sequence = 1;
  let open = true;
  return {
    async exchange(messages, options) {
      const first = sequence;
      sequence += messages.length;
      const bytes = Buffer.concat(messages.map((message, index) => encodeMessage(message, first + index)));
      if (options?.strict)
        return strictly({ syscalls, fd, bytes }, () => receive({ syscalls, fd, messages, first }));
      if (options?.slow) await syscalls.sendAsync(fd, bytes, 0);
      else syscalls.send(fd, bytes, 0);
      return receive({ syscalls, fd, messages, first });
    },
    close() {
      if (!open) return;
      open = false;
      syscalls.close(fd);
    },
  };
}

interface Strict {
  readonly syscalls: SocketSyscalls;
  readonly fd: number;
  readonly bytes: Buffer;
}

/** The option is the socket's, so it is set for this one go only, in which nothing else can be sent. */
function strictly<T>({ syscalls, fd, bytes }: Strict, receiveAll: () => T): T {
  syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, Buffer.from([1, 0, 0, 0]));
  try {
    syscalls.send(fd, bytes, 0);
    return receiveAll();
  } finally {
    syscalls.setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, Buffer.alloc(4));
  }
}

interface Receive {
  readonly syscalls: SocketSyscalls;
  readonly fd: number;
  readonly messages: readonly NetlinkMessage[];
  readonly first: number;
}

function receive({ syscalls, fd, messages, first }: Receive): NetlinkOutcome[] {
  const replies: NetlinkReply[][] = messages.map(() => []);
  const acks: (NetlinkAck | undefined)[] = messages.map(() => undefined);
  const wanted = messages.filter(endsWithAck).length;
  const buffer = receiveBuffer;
  let seen = 0;
  while (seen < wanted) {
    const size = receiveOnce(syscalls, fd, buffer, messages);
    if (size instanceof TrivetError) {
      // A refused nf_tables batch may leave its other messages unanswered: the refusal is the answer then.
      if (acks.some((ack) => ack !== undefined && ack.errno !== 0)) break;
      throw size;
    }
    const datagram = decodeDatagram(Buffer.from(buffer.subarray(0, size)));
    for (const reply of datagram.replies) replies[reply.sequence - first]?.push(reply);
    for (const ack of datagram.acks) {
      const index = ack.sequence - first;
      if (index < 0 || index >= messages.length) continue; // left over from a call that gave up
      if (acks[index] === undefined && endsWithAck(messages[index])) seen += 1;
      acks[index] = ack;
      // A batch is refused as a whole through its first message, which asks for no answer otherwise.
      if (ack.errno !== 0 && !endsWithAck(messages[index])) throw ackError(messages[index], ack);
    }
  }
  return messages.map((_, index) => ({
    replies: replies[index] ?? [],
    ack: acks[index] ?? { sequence: first + index, errno: 0, detail: undefined },
  }));
}

function endsWithAck(message: NetlinkMessage | undefined): boolean {
  if (!message) return false;
  // A dump is both of its bits: each alone means something else in a request for a change.
  return (message.flags & NLM_F_ACK) !== 0 || (message.flags & NLM_F_DUMP) === NLM_F_DUMP;
}

function receiveOnce(
  syscalls: SocketSyscalls,
  fd: number,
  buffer: Buffer,
  messages: readonly NetlinkMessage[],
): number | TrivetError {
  try {
    return receiveAfterOverrun(syscalls, fd, buffer);
  } catch (error) {
    const subject = messages.map((message) => message.subject).join(", ");
    return new TrivetError({
      kind: "io",
      op: "netlink.receive",
      subject,
      message: `the kernel did not answer a netlink request on ${subject}`,
      cause: error,
    });
  }
}

/** An overrun is told once; what came before it, the first refusal above all, can still be received. */
function receiveAfterOverrun(syscalls: SocketSyscalls, fd: number, buffer: Buffer): number {
  try {
    return syscalls.recv(fd, buffer, MSG_DONTWAIT);
  } catch (error) {
    if (!(error instanceof TrivetError && error.message.includes("ENOBUFS"))) throw error;
    return syscalls.recv(fd, buffer, MSG_DONTWAIT);
  }
}

/** A refused request as an error: the errno's kind and name, and the kernel's own words where it has some. */
export function ackError(message: NetlinkMessage | undefined, ack: NetlinkAck): TrivetError {
  const op = message?.op ?? "netlink";
  const subject = message?.subject ?? "a request";
  const said = ack.detail ? ` (${ack.detail})` : "";
  return new TrivetError({
    kind: errnoError(ack.errno, op, subject).kind,
    op,
    subject,
    message: `${op} failed on ${subject}: ${errnoName(ack.errno)}${said}`,
  });
}
