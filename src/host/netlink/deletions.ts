/**
 * Deletes links. The kernel waits for an RCU grace period, some 20 ms, for each request, however many links that takes away: so
 * one that comes alone goes at once, and those that come meanwhile go together, by a link group that nobody else has.
 */
import { randomInt } from "node:crypto";
import { ackError, type NetlinkConnection } from "./connection.ts";
import { linkRequest } from "./queries.ts";
import { encodeChange, groupDeletion, groupMembership } from "./requests.ts";

/** Resolves when the link is gone. Throws what the kernel says of this one. */
export type DeleteLink = (link: DeletedLink) => Promise<void>;

interface DeletedLink {
  readonly connection: NetlinkConnection;
  /** Of the connection: links of two namespaces cannot go together. */
  readonly namespace: string;
  readonly name: string;
}

interface Waiting extends DeletedLink {
  readonly end: (error?: unknown) => void;
}

/** Each holds a thread of libuv's pool, which has four for everything. With two a second link need not wait for a first. */
const REQUESTS_AT_ONCE = 2;
/** Their acknowledgements must fit into the socket's buffer. */
const LINKS_AT_ONCE = 64;
/** Groups that people give are small numbers. */
const FIRST_GROUP = 2 ** 31;

/** For all connections of a process. */
export function createDeletions(): DeleteLink {
  const queues = new Map<string, { readonly waiting: Waiting[]; running: number }>();
  const work = async (namespace: string) => {
    const queue = queues.get(namespace);
    if (!queue) return;
    queue.running += 1;
    while (queue.waiting.length > 0) await deleteTogether(queue.waiting.splice(0, LINKS_AT_ONCE));
    queue.running -= 1;
    if (queue.running === 0) queues.delete(namespace);
  };
  return (link) =>
    new Promise((resolve, reject) => {
      const queue = queues.get(link.namespace) ?? { waiting: [], running: 0 };
      queues.set(link.namespace, queue);
      queue.waiting.push({ ...link, end: (error) => (error ? reject(error) : resolve()) });
      if (queue.running < REQUESTS_AT_ONCE) void work(link.namespace);
    });
}

/** Never rejects: each link has its own end. */
async function deleteTogether(links: readonly Waiting[]): Promise<void> {
  const [first, second] = links;
  if (!first || !second) return first && deleteAlone(first);
  try {
    const group = randomInt(FIRST_GROUP, 2 ** 32);
    const joining = links.map(({ name }) => groupMembership(name, group));
    const outcomes = await first.connection.exchange(joining);
    const joined = links.filter((_, index) => outcomes[index]?.ack.errno === 0);
    const [outcome] = await first.connection.exchange([groupDeletion(group)], { slow: true });
    if (outcome?.ack.errno === 0) {
      // Another process may have taken one into a group of its own meanwhile.
      const answers = await first.connection.exchange(joined.map(({ name }) => linkRequest({ name })));
      const gone = joined.filter((_, index) => answers[index]?.ack.errno !== 0);
      for (const { end } of gone) end();
      await Promise.all(links.filter((link) => !gone.includes(link)).map(deleteAlone));
      return;
    }
  } catch {
    // Whatever it was, each link can still be deleted by itself.
  }
  await Promise.all(links.map(deleteAlone));
}

async function deleteAlone({ connection, name, end }: Waiting): Promise<void> {
  const request = encodeChange({ op: "link.delete", name });
  try {
    const [outcome] = await connection.exchange([request], { slow: true });
    const ack = outcome?.ack;
    end(ack && ack.errno !== 0 ? ackError(request, ack) : undefined);
  } catch (error) {
    end(error);
  }
}
