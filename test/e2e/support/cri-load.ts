/**
 * Callers that never pause, for what must not lose a call: each makes one call after the other, and every failure is kept
 * with its text. Besides them a call that takes long and a stream of events, as a kubelet has them.
 */
import { type CriClient, connectCri } from "../../fakes/kubelet/cri-client.ts";

export interface CriLoadOptions {
  readonly path: string;
  /** Callers in all, spread over the connections. */
  readonly callers: number;
  readonly connections: number;
}

export interface CriLoad {
  /** Calls that were answered so far. */
  readonly calls: number;
  readonly failures: readonly string[];
  /** Lets the calls in flight end, and closes the connections. */
  stop(): Promise<void>;
}

const methods = ["Version", "Status", "ListContainers", "ListPodSandbox", "ListImages"] as const;

/** Starts at once. */
export function startCriLoad({ path, callers, connections }: CriLoadOptions): CriLoad {
  const clients = Array.from({ length: connections }, () => connectCri({ path }));
  const failures: string[] = [];
  let calls = 0;
  let stopping = false;
  const caller = async (client: CriClient, first: number) => {
    for (let turn = first; !stopping; turn += 1) {
      const method = methods[turn % methods.length] ?? "Version";
      try {
        await client.call(method);
        calls += 1;
      } catch (error) {
        failures.push(`${method}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  const ended = Promise.all(
    Array.from({ length: callers }, (_, index) => {
      const client = clients[index % clients.length];
      if (!client) throw new RangeError("a load needs a connection");
      return caller(client, index);
    }),
  );
  return {
    get calls() {
      return calls;
    },
    failures,
    async stop() {
      stopping = true;
      await ended;
      for (const client of clients) client.close();
    },
  };
}

/** The events that a subscriber gets, and how its stream ended. */
export interface EventSubscriber {
  readonly types: readonly string[];
  /** Undefined while the stream goes on. */
  readonly end: string | undefined;
  close(): void;
}

/** Subscribes; the first event that counts is one that happens after the runtime knows of it. */
export function subscribeToEvents(path: string): EventSubscriber {
  const client = connectCri({ path });
  const stop = new AbortController();
  const types: string[] = [];
  let end: string | undefined;
  const read = async () => {
    const events = client.stream("GetContainerEvents", {}, { signal: stop.signal });
    for await (const event of events) types.push(String(event.container_event_type));
    return "ended by the runtime";
  };
  read().then(
    (text) => {
      end = text;
    },
    (error: unknown) => {
      end = String(error);
    },
  );
  return {
    types,
    get end() {
      return end;
    },
    close() {
      stop.abort();
      client.close();
    },
  };
}
