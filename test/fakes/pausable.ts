/** A process of the CNI leg that stops before one of its effects, as SIGSTOP would stop it, until it is let go on. */
import type { CniDeps } from "../../src/cni/deps.ts";

export interface Paused {
  readonly deps: CniDeps;
  /** Resolves when it has stopped. */
  readonly reached: Promise<void>;
  resume(): void;
}

/** `step` counts the effects on files and links from 0. */
export function pausable(deps: CniDeps, step: number): Paused {
  const reached = Promise.withResolvers<void>();
  const going = Promise.withResolvers<void>();
  let steps = 0;
  const gate = async () => {
    if (steps++ !== step) return;
    reached.resolve();
    await going.promise;
  };
  const gated = <T extends object>(target: T, wrap: (key: string, result: unknown) => unknown): T =>
    new Proxy(target, {
      get(object, key) {
        const value: unknown = Reflect.get(object, key);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          await gate();
          return wrap(String(key), await value.apply(object, args));
        };
      },
    });
  const asItIs = (_key: string, result: unknown) => result;
  const files = gated(deps.files, (key, result) =>
    key === "open" ? gated(result as object, asItIs) : result,
  );
  const netlink: CniDeps["netlink"] = {
    connect(netns) {
      const connection = deps.netlink.connect(netns);
      // Closing is no step: a process that is killed closes too.
      return { ...gated({ ...connection }, asItIs), close: () => connection.close() };
    },
  };
  return { deps: { ...deps, files, netlink }, reached: reached.promise, resume: () => going.resolve() };
}
