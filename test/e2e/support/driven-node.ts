/** The test's end of a `WholeNode`'s driver: its verbs as functions. */
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { packageRoot } from "../../../src/host/package-root.ts";
import type { DriverVerbs } from "./node-driver.ts";
import type { WholeNode } from "./whole-node.ts";

type Verb = keyof DriverVerbs;

export interface Driver {
  ask<V extends Verb>(
    verb: V,
    ...given: Parameters<DriverVerbs[V]>
  ): Promise<Awaited<ReturnType<DriverVerbs[V]>>>;
  stop(): void;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Ends with the node, or its stdin. */
export function startDriver(node: WholeNode): Driver {
  const program = `${packageRoot}/test/e2e/support/node-driver.ts`;
  const child: ChildProcess = node.spawn([
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    program,
  ]);
  const waiting = new Map<number, Waiting>();
  let ids = 0;
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said += chunk;
  });
  child.stdin?.on("error", () => undefined);
  child.once("exit", (code) => {
    for (const { reject } of waiting.values())
      reject(new Error(`the driver ended with code ${code}: ${said}`));
  });
  if (child.stdout) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { id, value, error } = JSON.parse(line) as { id: number; value?: unknown; error?: string };
      const asked = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) asked?.resolve(value);
      else asked?.reject(new Error(error));
    });
  }
  return {
    ask(verb, ...[given]) {
      const id = ++ids;
      // The shapes of verbs and answers are the driver's own.
      return new Promise<never>((resolve, reject) => {
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
        child.stdin?.write(`${JSON.stringify({ id, verb, given })}\n`);
      });
    },
    stop() {
      child.stdin?.end();
    },
  };
}
