/** Container events: every subscriber of GetContainerEvents sees what happens from its subscription on. */
import type { CallContext } from "./handlers.ts";
import type { Message } from "./messages.ts";

export type EventType =
  | "CONTAINER_CREATED_EVENT"
  | "CONTAINER_STARTED_EVENT"
  | "CONTAINER_STOPPED_EVENT"
  | "CONTAINER_DELETED_EVENT";

export interface EventHub {
  publish(event: Message): void;
  /** Ends when the call does. */
  subscribe(context: CallContext): AsyncIterable<Message>;
  /** How many calls listen now. */
  readonly subscribers: number;
}

export function createEventHub(): EventHub {
  const queues = new Set<(event: Message) => void>();
  return {
    publish: (event) => {
      for (const push of queues) push(event);
    },
    subscribe: (context) => subscription(queues, context),
    get subscribers() {
      return queues.size;
    },
  };
}

async function* subscription(
  queues: Set<(event: Message) => void>,
  { signal }: CallContext,
): AsyncGenerator<Message> {
  const pending: Message[] = [];
  let wake: () => void = () => undefined;
  const push = (event: Message) => {
    pending.push(event);
    wake();
  };
  const end = () => wake();
  queues.add(push);
  signal.addEventListener("abort", end);
  try {
    while (!signal.aborted) {
      const event = pending.shift();
      if (event !== undefined) yield event;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    queues.delete(push);
    signal.removeEventListener("abort", end);
  }
}
