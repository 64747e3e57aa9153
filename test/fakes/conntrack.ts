/** Tracked connections in memory: what was to be forgotten is kept, so that tests can ask. */
import type { Conntrack, FlowFilter } from "../../src/host/conntrack.ts";

export interface FakeConntrack extends Conntrack {
  readonly forgotten: FlowFilter[];
  /** Called around each effect. */
  onEffect: ((op: string, subject: string, when: "before" | "after") => void) | undefined;
}

export function createFakeConntrack(): FakeConntrack {
  const fake: FakeConntrack = {
    forgotten: [],
    onEffect: undefined,
    async forget(filters) {
      const subject = filters.map(({ protocol, destinationPort }) => `${protocol} ${destinationPort ?? ""}`);
      fake.onEffect?.("conntrack.forget", subject.join(", "), "before");
      fake.forgotten.push(...filters);
      fake.onEffect?.("conntrack.forget", subject.join(", "), "after");
      return 0;
    },
  };
  return fake;
}
