/** Plugins run and measured by `timer.c`, inside a network namespace: one process for each call that is to run at once. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

/** One plugin of a chain: its program, and the file of its configuration without the last brace. */
export interface Stage {
  readonly program: string;
  readonly confFile: string;
}

export interface TimedCall {
  readonly command: "ADD" | "DEL" | "VERSION" | "STATUS";
  readonly id: string;
  readonly netns: string;
  /** Members of the configuration that a runtime adds. */
  readonly extra?: string;
  readonly stages: readonly Stage[];
}

export interface Timing {
  readonly ms: number;
  readonly exitCode: number;
  readonly printed: string;
}

/** Builds the measuring program; throws if there is no C compiler. */
export function buildTimer(directory: string): string {
  const path = join(directory, "timer");
  const source = join(import.meta.dirname, "timer.c");
  const compiler = ["musl-gcc", "cc"].find((name) => runs(name)) ?? "cc";
  execFileSync(compiler, ["-static", "-O2", "-o", path, source], { stdio: ["ignore", "ignore", "inherit"] });
  return path;
}

function runs(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** A measuring process. */
export class Timer {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  constructor(timer: string, namespace: string, cniPath: string) {
    const env = { PATH: process.env.PATH, CNI_IFNAME: "eth0", CNI_PATH: cniPath };
    const stdio = ["pipe", "pipe", "inherit"] as const;
    this.#child = spawn("ip", ["netns", "exec", namespace, timer], { env, stdio: [...stdio] });
    if (!this.#child.stdout) throw new Error("the timer has no output");
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** One after the other. Throws if one fails. */
  async run(calls: readonly TimedCall[]): Promise<Timing[]> {
    const lines = calls.map(({ command, id, netns, extra = "-", stages }) =>
      [command, id, netns, extra, ...stages.flatMap(({ program, confFile }) => [program, confFile])].join(
        "\t",
      ),
    );
    this.#child.stdin?.write(lines.map((line) => `${line}\n`).join(""));
    const timings: Timing[] = [];
    for (const { command, id } of calls) {
      const { value } = await this.#answers.next();
      const [ns, exitCode, ...printed] = String(value).split(" ");
      const timing = {
        ms: Number(ns) / 1e6,
        exitCode: Number(exitCode),
        printed: printed.join(" "),
      };
      if (timing.exitCode !== 0) throw new Error(`${command} of ${id} failed: ${timing.printed}`);
      timings.push(timing);
    }
    return timings;
  }

  end(): void {
    this.#child.stdin?.end();
    this.#lines.close();
  }
}

/** The value below which this share of the numbers lies. */
export function percentile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
