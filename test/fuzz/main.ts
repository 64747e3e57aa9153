/**
 * The fuzzer: `make fuzz`, or `node test/fuzz/main.ts [--count N] [--seed S] [--only TARGET] [--from INPUT]`. N inputs in
 * all, shared among the targets by what they cost. A finding is printed with the command that makes it again; the last line
 * counts, and the exit code is 1 where anything was found.
 */
import { parseArgs } from "node:util";
import { runTarget } from "./run-target.ts";
import type { FuzzTarget } from "./target.ts";
import { targets } from "./targets.ts";

const DEFAULT_COUNT = 1_000_000;

const { values } = parseArgs({
  options: {
    count: { type: "string", default: String(DEFAULT_COUNT) },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "0" },
    only: { type: "string" },
  },
});

function whole(name: "count" | "seed" | "from"): number {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a whole number`);
  return value;
}

function chosen(): readonly FuzzTarget[] {
  if (values.only === undefined) return targets;
  const named = targets.filter(({ name }) => name === values.only);
  if (named.length > 0) return named;
  throw new Error(`--only takes one of ${targets.map(({ name }) => name).join(", ")}`);
}

function showProgress(name: string, inputs: number): (done: number) => void {
  if (!process.stderr.isTTY) return () => undefined;
  return (done) => process.stderr.write(`\r${name}: ${done} of ${inputs} `);
}

async function main(): Promise<number> {
  const [count, seed, from] = [whole("count"), whole("seed"), whole("from")];
  const tried = chosen();
  const shares = tried.reduce((sum, { share }) => sum + share, 0);
  const total = { inputs: 0, findings: 0 };
  for (const target of tried) {
    const { name } = target;
    const inputs = Math.ceil((count * target.share) / shares);
    const before = performance.now();
    const result = await runTarget({ target, inputs, seed, from, onProgress: showProgress(name, inputs) });
    const seconds = (performance.now() - before) / 1_000;
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    const { accepted, refused, findings } = result;
    for (const { input, error } of findings) {
      const again = `node test/fuzz/main.ts --only ${name} --seed ${seed} --from ${input} --count 1`;
      process.stdout.write(`${name}: ${error instanceof Error ? error.stack : error}\n  again: ${again}\n`);
    }
    const rss = Math.round(process.memoryUsage().rss / 2 ** 20);
    process.stdout.write(
      `${name}: ${result.inputs} inputs, ${accepted} accepted, ${refused} refused, ${findings.length} findings, ` +
        `${seconds.toFixed(1)} s, ${rss} MiB resident\n`,
    );
    total.inputs += result.inputs;
    total.findings += findings.length;
  }
  process.stdout.write(`${total.inputs} inputs, ${total.findings} findings (seed ${seed})\n`);
  return total.findings === 0 ? 0 : 1;
}

process.exitCode = await main();
