/**
 * The runtime's rules as short plays over CRI, whose transcripts are compared: with the fake in the unit tests, and
 * with a real containerd in the end-to-end tests. So the fake cannot drift from what it stands for.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { CriClient } from "../kubelet/cri-client.ts";

/** What a play is given. The image has `sleep`, `true` and `sh`; a fake is told by `command` what to do. */
export interface Stage {
  readonly cri: CriClient;
  readonly image: string;
  readonly logRoot: string;
}

interface Play {
  /** Makes a call and writes its outcome down: `OK`, or code and text. Gives the answer, if there was one. */
  try(method: string, request: object): Promise<Readonly<Record<string, unknown>>>;
  /** Writes something down. */
  note(text: string): void;
  /** Runs a sandbox on the host's network. */
  sandbox(name: string): Promise<Sandbox>;
}

interface Sandbox {
  readonly id: string;
  readonly byId: { readonly pod_sandbox_id: string };
  readonly config: object;
  create(name: string, command?: readonly string[]): Promise<{ readonly container_id: string }>;
}

export interface Rule {
  readonly title: string;
  readonly play: (play: Play) => Promise<void>;
  /** Ids read `<1>`, `<2>` and so on, in the order in which they appeared. */
  readonly transcript: readonly string[];
}

const noContainer = 'ContainerStatus 5 an error occurred when try to find container "none": not found';
const gone = { container_id: "none" };

export const rules: readonly Rule[] = [
  {
    title: "removing what is not there succeeds",
    play: async (play) => {
      await play.try("RemovePodSandbox", { pod_sandbox_id: "none" });
      await play.try("RemoveContainer", gone);
      await play.try("RemoveImage", { image: { image: "none.local/none:1" } });
    },
    transcript: ["RemovePodSandbox OK", "RemoveContainer OK", "RemoveImage OK"],
  },
  {
    // Stopping, too, in containerd 1.6; later ones answer OK to it. The kubelet takes both for "stopped".
    title: "asking for what is not there is NOT_FOUND",
    play: async (play) => {
      await play.try("StopPodSandbox", { pod_sandbox_id: "none" });
      await play.try("StopContainer", gone);
      await play.try("PodSandboxStatus", { pod_sandbox_id: "none" });
      await play.try("ContainerStatus", gone);
      await play.try("StartContainer", gone);
      await play.try("UpdateContainerResources", { ...gone, linux: {} });
      await play.try("ContainerStats", gone);
      await play.try("ReopenContainerLog", gone);
      await play.try("ExecSync", { ...gone, cmd: ["true"] });
    },
    transcript: [
      'StopPodSandbox 5 an error occurred when try to find sandbox "none": not found',
      'StopContainer 5 an error occurred when try to find container "none": not found',
      "PodSandboxStatus 5 an error occurred when try to find sandbox: not found",
      noContainer,
      'StartContainer 5 an error occurred when try to find container "none": not found',
      "UpdateContainerResources 5 failed to find container: not found",
      "ContainerStats 5 failed to find container: not found",
      'ReopenContainerLog 5 an error occurred when try to find container "none": not found',
      'ExecSync 5 failed to exec in container: failed to find container "none" in store: not found',
    ],
  },
  {
    title: "an image that is not there is an answer without an image",
    play: async (play) => {
      const { image } = await play.try("ImageStatus", { image: { image: "none.local/none:1" } });
      play.note(`image ${JSON.stringify(image)}`);
    },
    transcript: ["ImageStatus OK", "image null"],
  },
  {
    title: "a container needs a sandbox that is there and ready, and an image",
    play: async (play) => {
      const sandbox = await play.sandbox("needs");
      const config = { metadata: { name: "main" }, image: { image: "none.local/none:1" } };
      await play.try("CreateContainer", { pod_sandbox_id: "none", config, sandbox_config: sandbox.config });
      await play.try("CreateContainer", { ...sandbox.byId, config, sandbox_config: sandbox.config });
      await play.try("StopPodSandbox", sandbox.byId);
      await sandbox.create("main");
      await play.try("RemovePodSandbox", sandbox.byId);
    },
    transcript: [
      "RunPodSandbox OK",
      'CreateContainer 5 failed to find sandbox id "none": not found',
      'CreateContainer 5 failed to resolve image "none.local/none:1": not found',
      "StopPodSandbox OK",
      "CreateContainer 5 failed to get sandbox container task: no running task found: task <1> not found: not found",
      "RemovePodSandbox OK",
    ],
  },
  {
    title: "names are taken until their holder is removed",
    play: async (play) => {
      const sandbox = await play.sandbox("names");
      await play.sandbox("names");
      const first = await sandbox.create("main");
      await sandbox.create("main");
      await play.try("RemoveContainer", first);
      await sandbox.create("main");
      await play.try("StopPodSandbox", sandbox.byId);
      await play.sandbox("names");
      await play.try("RemovePodSandbox", sandbox.byId);
      const again = await play.sandbox("names");
      await play.try("RemovePodSandbox", again.byId);
    },
    transcript: [
      "RunPodSandbox OK",
      'RunPodSandbox 2 failed to reserve sandbox name "names_rules_uid-names_0": name "names_rules_uid-names_0" is reserved for "<1>"',
      "CreateContainer OK",
      'CreateContainer 2 failed to reserve container name "main_names_rules_uid-names_0": name "main_names_rules_uid-names_0" is reserved for "<2>"',
      "RemoveContainer OK",
      "CreateContainer OK",
      "StopPodSandbox OK",
      'RunPodSandbox 2 failed to reserve sandbox name "names_rules_uid-names_0": name "names_rules_uid-names_0" is reserved for "<1>"',
      "RemovePodSandbox OK",
      "RunPodSandbox OK",
      "RemovePodSandbox OK",
    ],
  },
  {
    title: "a container starts once, from created only, and stops as often as one likes",
    play: async (play) => {
      const sandbox = await play.sandbox("once");
      const container = await sandbox.create("main", ["sleep", "1000"]);
      await play.try("ExecSync", { ...container, cmd: ["true"] });
      await play.try("StopContainer", { ...container, timeout: "0" });
      await play.try("StartContainer", container);
      await play.try("StartContainer", container);
      await play.try("StopContainer", { ...container, timeout: "0" });
      await play.try("StopContainer", { ...container, timeout: "0" });
      const { status } = await play.try("ContainerStatus", container);
      const { state, exit_code, reason } = status as Record<string, unknown>;
      play.note(`${state} ${exit_code} ${reason}`);
      await play.try("StartContainer", container);
      await play.try("ReopenContainerLog", container);
      await play.try("RemovePodSandbox", sandbox.byId);
      await play.try("ContainerStatus", gone);
    },
    transcript: [
      "RunPodSandbox OK",
      "CreateContainer OK",
      "ExecSync 2 failed to exec in container: container is in CONTAINER_CREATED state",
      "StopContainer OK",
      "StartContainer OK",
      'StartContainer 2 failed to set starting state for container "<2>": container is in CONTAINER_RUNNING state',
      "StopContainer OK",
      "StopContainer OK",
      "ContainerStatus OK",
      "CONTAINER_EXITED 137 Error",
      'StartContainer 2 failed to set starting state for container "<2>": container is in CONTAINER_EXITED state',
      "ReopenContainerLog 2 container is not running",
      "RemovePodSandbox OK",
      noContainer,
    ],
  },
  {
    title:
      "removing a running container or a ready sandbox stops it first; ids may be cut short; lists are filtered",
    play: async (play) => {
      const sandbox = await play.sandbox("force");
      const first = await sandbox.create("first", ["sleep", "1000"]);
      const second = await sandbox.create("second", ["sleep", "1000"]);
      await play.try("StartContainer", first);
      await play.try("StartContainer", { container_id: second.container_id.slice(0, 20) });
      await play.try("RemoveContainer", first);
      const list = async (filter: object) => {
        const { containers } = await play.try("ListContainers", { filter });
        play.note(`${(containers as unknown[]).length} containers`);
      };
      await list(sandbox.byId);
      await list({ ...sandbox.byId, state: { state: "CONTAINER_CREATED" } });
      await list({ id: second.container_id.slice(0, 20) });
      await list({ ...sandbox.byId, label_selector: { app: "second" } });
      await list({ ...sandbox.byId, label_selector: { app: "third" } });
      await play.try("RemovePodSandbox", sandbox.byId);
      await list(sandbox.byId);
    },
    transcript: [
      "RunPodSandbox OK",
      "CreateContainer OK",
      "CreateContainer OK",
      "StartContainer OK",
      "StartContainer OK",
      "RemoveContainer OK",
      "ListContainers OK",
      "1 containers",
      "ListContainers OK",
      "0 containers",
      "ListContainers OK",
      "1 containers",
      "ListContainers OK",
      "1 containers",
      "ListContainers OK",
      "0 containers",
      "RemovePodSandbox OK",
      "ListContainers OK",
      "0 containers",
    ],
  },
];

/** Plays a rule and gives what was written down. */
export async function playRule(rule: Rule, { cri, image, logRoot }: Stage): Promise<string[]> {
  const transcript: string[] = [];
  const ids: string[] = [];
  const write = (text: string) =>
    transcript.push(ids.reduce((line, id, index) => line.replaceAll(id, `<${index + 1}>`), text));
  const play: Play = {
    async try(method, request) {
      try {
        const answer = (await cri.call(method, request)) as Readonly<Record<string, unknown>>;
        const id = answer.pod_sandbox_id ?? answer.container_id;
        if (typeof id === "string" && id !== "") ids.push(id);
        write(`${method} OK`);
        return answer;
      } catch (error) {
        const { code, details } = error as { code: number; details: string };
        write(`${method} ${code} ${details}`);
        return {};
      }
    },
    note: write,
    async sandbox(name) {
      const log_directory = join(logRoot, name);
      await mkdir(log_directory, { recursive: true });
      const config = {
        metadata: { name, namespace: "rules", uid: `uid-${name}`, attempt: 0 },
        log_directory,
        linux: { security_context: { namespace_options: { network: "NODE" } } },
      };
      const answer = await play.try("RunPodSandbox", { config });
      return { ...sandboxOf(String(answer.pod_sandbox_id ?? ""), config), create: creator(answer, config) };
    },
  };
  const creator =
    (answer: Readonly<Record<string, unknown>>, sandbox_config: object) =>
    async (name: string, command: readonly string[] = ["true"]) => {
      const created = await play.try("CreateContainer", {
        pod_sandbox_id: answer.pod_sandbox_id,
        config: {
          metadata: { name },
          image: { image },
          command,
          labels: { app: name },
          log_path: `${name}.log`,
        },
        sandbox_config,
      });
      return { container_id: String(created.container_id ?? "") };
    };
  await rule.play(play);
  return transcript;
}

function sandboxOf(id: string, config: object) {
  return { id, byId: { pod_sandbox_id: id }, config };
}
