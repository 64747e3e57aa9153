/**
 * What a rule of the CNI specification is here: a title in our words, when it applies, and a judge that drives a plugin as a
 * runtime does. Rules know neither vitest nor the kind of plugin: tests and `npm run conformance:cni` run the same objects.
 */

export type Json = Record<string, unknown>;

/** What one call of the plugin came to. */
export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
}

export interface PodLink {
  readonly name: string;
  readonly up: boolean;
  readonly mac: string;
  /** In CIDR form; link-local ones are left out. */
  readonly addresses: readonly string[];
}

/** A container's namespace, which the rule may spoil as it likes. */
export interface Pod {
  readonly id: string;
  readonly netns: string;
  links(): Promise<readonly PodLink[]>;
  /** Puts an interface of that name there which is not the plugin's. */
  occupy(name: string): Promise<void>;
  removeLink(name: string): Promise<void>;
  removeAddress(link: string, cidr: string): Promise<void>;
  remove(remains: "nothing" | "plain-file"): Promise<void>;
}

/** A plugin on a node, as a runtime has it. */
export interface Subject {
  /** A working configuration, but for its version. */
  readonly conf: Json;
  readonly cniPath: string;
  call(env: Readonly<Record<string, string | undefined>>, stdin: string): Promise<Outcome>;
  pod(): Promise<Pod>;
  /** What a leak on the node would change: links, routes, rules. */
  traces(): Promise<readonly string[]>;
  /** A directory for plugins of the rule's own, where the plugin can start any. */
  readonly scratch?: string;
}

/** For one rule on one version. */
export interface RuleContext {
  readonly subject: Subject;
  readonly version: string;
}

export interface Rule {
  readonly group: string;
  readonly title: string;
  /** The oldest version that has it; by default all have. */
  readonly since?: string;
  /** Why it says nothing about this plugin; undefined if it does. */
  readonly excused?: (subject: Subject) => string | undefined;
  /** Throws a Violation. */
  readonly judge: (runtime: Runtime) => Promise<void>;
}

/** The plugin breaks the rule. */
export class Violation extends Error {}

export function must(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Violation(otherwise);
}

/** A runtime's side of the protocol, as rules need it. */
export interface Runtime {
  readonly version: string;
  readonly subject: Subject;
  pod(): Promise<Pod>;
  conf(changes?: Json): Json;
  env(
    command: string,
    pod: Pod,
    changes?: Readonly<Record<string, string | undefined>>,
  ): Record<string, string | undefined>;
  call(command: string, pod: Pod, how?: CallChanges): Promise<Outcome>;
  /** An ADD that must succeed. */
  added(pod: Pod, how?: CallChanges): Promise<AddResult>;
  /** A call that must end with exit code 0. */
  succeeds(command: string, pod: Pod, how?: CallChanges): Promise<Outcome>;
  /** A call that must end with another exit code and an error object on stdout. */
  fails(command: string, pod: Pod, how?: CallChanges): Promise<ErrorObject>;
}

export interface CallChanges {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly conf?: Json;
  /** In place of any configuration. */
  readonly stdin?: string;
}

export interface AddResult extends Json {
  readonly cniVersion: string;
  readonly interfaces: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[];
  readonly ips: readonly {
    readonly address: string;
    readonly interface?: number;
    readonly version?: string;
  }[];
}

export interface ErrorObject {
  /** Required too; that has a rule of its own. */
  readonly cniVersion: unknown;
  readonly code: number;
  readonly msg: string;
}
