/**
 * The composition root: argv to verb. Only the chosen verb's modules are loaded, so that the proxy carries
 * nothing of the rest and a CNI call starts fast.
 */
import { Command, CommanderError } from "commander";
import { print } from "./commands/print.ts";
import { TrivetError } from "./errors.ts";
import { version } from "./version.ts";

/** What a verb's module exports: adds its flags, its help and its action. */
export interface Verb {
  define(command: Command): void;
}

interface VerbEntry {
  readonly summary: string;
  load(): Promise<Verb>;
}

const verbs: Readonly<Record<string, VerbEntry>> = {
  node: {
    summary: "serve the CSI driver and the CNI agent on this node",
    load: () => import("./commands/node.ts"),
  },
  cri: {
    summary: "stand between the kubelet and the container runtime: log calls, apply policies",
    load: () => import("./commands/cri.ts"),
  },
  cni: {
    summary: "be the CNI plugin: environment and stdin in, result on stdout",
    load: () => import("./commands/cni.ts"),
  },
  network: {
    summary: "look at the pod network of this node: leases, what dead pods left",
    load: () => import("./commands/network.ts"),
  },
  storage: {
    summary: "look at the volumes of this node: pools, orphans; undelete, adopt",
    load: () => import("./commands/storage.ts"),
  },
  install: {
    summary: "put Trivet in its place on this node, or one part of it",
    load: () => import("./commands/install.ts"),
  },
  uninstall: {
    summary: "take away what install has put there",
    load: () => import("./commands/uninstall.ts"),
  },
  rollback: {
    summary: "go back to the version that was installed before",
    load: () => import("./commands/rollback.ts"),
  },
  bypass: {
    summary: "take the proxy out from between the kubelet and the runtime, at once",
    load: () => import("./commands/bypass.ts"),
  },
  doctor: {
    summary: "look at everything that could be wrong on this node, and say what to do",
    load: () => import("./commands/doctor.ts"),
  },
  demo: {
    summary: "start one pod through all three legs on this machine, show it, take it down",
    load: () => import("./commands/demo.ts"),
  },
  version: {
    summary: "print the version of Trivet and of its runtime",
    load: () => import("./commands/version.ts"),
  },
};

/** What a process says with its exit code. 3 is for missing prerequisites and is set by the verbs that look. */
const exitCodes = { failure: 1, usage: 2 } as const;

async function createProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command("trivet")
    .description("Trivet: CSI local volumes, CNI pod network and CRI proxy for a Kubernetes node")
    .version(`trivet ${version}`, "--version", "print the version")
    .helpOption("-h, --help", "show this help")
    .helpCommand("help [verb]", "show the help of a verb")
    .configureOutput({ writeOut: print })
    .showSuggestionAfterError()
    .showHelpAfterError("(--help shows all verbs and flags)")
    // A verb and its parts may have flags of the same names: a flag is that of the word which it comes after.
    .enablePositionalOptions()
    .exitOverride();
  // Help for a verb needs its flags; all the others need only a line.
  const wanted = argv[0] === "help" ? argv[1] : argv[0];
  for (const [name, { summary, load }] of Object.entries(verbs)) {
    const command = program.command(name).description(summary);
    if (name === wanted) (await load()).define(command);
  }
  return program;
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
  if (error instanceof TrivetError) {
    process.stderr.write(`trivet: ${error.message}\n`);
    return error.kind === "invalid" ? exitCodes.usage : exitCodes.failure;
  }
  const stack = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`trivet: this is a bug of ours, please report it:\n${stack}\n`);
  return exitCodes.failure;
}

async function main(argv: readonly string[]): Promise<void> {
  try {
    const program = await createProgram(argv);
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    process.exitCode = report(error);
  }
}

await main(process.argv.slice(2));
