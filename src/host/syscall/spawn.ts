/**
 * Starting programs without copying the page tables of this process: posix_spawn(3), which is vfork(2) underneath. Node's
 * own way forks, on the main thread, which for a daemon of 150 MB stops everything else for five to ten milliseconds. The new
 * program has the namespaces of the thread that starts it: no thread of koffi's pool may leave those of the process.
 */
import { constants } from "node:os";
import type { LibraryHandle } from "koffi";
import { TrivetError } from "../../errors.ts";
import { errnoError } from "../errno.ts";
import { createSlots } from "../slots.ts";
import { checked, requireInteger, requireText } from "./call.ts";

/** What to start, and what it gets. */
export interface SpawnRequest {
  /** Where the program may lie, in this order. */
  readonly files: readonly string[];
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors that become 0, 1 and 2; without the first, that is /dev/null. Every other one must be close-on-exec. */
  readonly stdio: readonly [number | undefined, number, number];
}

/** Only the start can block, on reading the program, so that runs on koffi's pool. */
export interface SpawnCalls {
  /**
   * posix_spawn(3): gives the process id, of the leader of a session (and so of a group) of its own, with all signals as
   * they are by default. Whoever calls this reaps it: Node knows nothing of it. Throws what execve(2) said, with the
   * first argument as the subject.
   */
  spawnProgram(request: SpawnRequest): Promise<number>;
  /** waitpid(2) with WNOHANG: the status as wait(2) has it, or undefined while it runs. Never waits. */
  reapChild(pid: number): number | undefined;
  /** pipe2(2), close-on-exec: the end to read from and the one to write to. */
  openPipe(): readonly [number, number];
}

const { EACCES, ENOENT, ENOTDIR } = constants.errno;
const O_CLOEXEC = 0o2000000;
const WNOHANG = 1;
const SETSIGDEF = 0x04;
const SETSIGMASK = 0x08;
const SETSID = 0x80;
/** More than glibc's posix_spawnattr_t (336), posix_spawn_file_actions_t (80) and sigset_t (128) take. */
const [ATTRIBUTES_BYTES, ACTIONS_BYTES, SIGNALS_BYTES] = [512, 256, 128];
const STDIO = [0, 1, 2] as const;

/** A program may be large and its disk slow: two of the pool's four threads are left to others. */
const slots = createSlots(2);

/** Gives the process id, or an errno below zero. */
type Start = (
  file: string,
  actions: Buffer,
  argv: readonly string[],
  envp: readonly string[],
) => Promise<number>;

/** Binds the calls. */
export function createSpawnCalls(libc: LibraryHandle): SpawnCalls {
  const pipe2 = libc.func("int pipe2(void *fds, int flags)");
  const waitpid = libc.func("int waitpid(int pid, void *status, int options)");
  const withActions = bindActions(libc);
  const start = bindStart(libc);
  return {
    async spawnProgram({ files, argv, env, stdio }) {
      const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
      const texts = { file: files, argument: argv, variable: variables };
      for (const [name, values] of Object.entries(texts)) requireTexts(name, values);
      const [stdin, stdout, stderr] = stdio;
      requireInteger("spawn", { stdin: stdin ?? 0, stdout, stderr });
      return slots.run(() =>
        withActions(stdio, (actions) =>
          firstOf(files, argv[0] ?? "", (file) => start(file, actions, argv, variables)),
        ),
      );
    },
    reapChild(pid) {
      requireInteger("waitpid", { pid });
      // 0 and, as it is handed over, 4294967295 stand for any child, also Node's.
      if (pid < 1 || pid > 0x7fff_ffff)
        throw new TrivetError({ kind: "bug", op: "waitpid", subject: "pid", message: `no child: ${pid}` });
      const status = Buffer.alloc(4);
      const reaped = checked("waitpid", `process ${pid}`, waitpid(pid, status, WNOHANG));
      return reaped === 0 ? undefined : status.readInt32LE();
    },
    openPipe() {
      const fds = Buffer.alloc(8);
      checked("pipe2", "pipe", pipe2(fds, O_CLOEXEC));
      return [fds.readInt32LE(0), fds.readInt32LE(4)];
    },
  };
}

function requireTexts(name: string, values: readonly string[]): void {
  for (const [index, value] of values.entries()) requireText("spawn", { [`${name} ${index}`]: value });
}

/** As execvp(3) goes through PATH: what cannot be run is passed over, and told of if there is nothing else. */
async function firstOf(
  files: readonly string[],
  name: string,
  start: (file: string) => Promise<number>,
): Promise<number> {
  let failure: number = ENOENT;
  for (const file of files) {
    const result = await start(file);
    if (result > 0) return result;
    if (result === -EACCES) failure = EACCES;
    else if (result !== -ENOENT && result !== -ENOTDIR) throw errnoError(-result, "exec", name);
  }
  throw errnoError(failure, "exec", name);
}

/** These functions give an errno, and do not set one. */
function requireSuccess(errno: number, subject: string): void {
  if (errno !== 0) throw errnoError(errno, "exec", subject);
}

/** What only newer C libraries have. */
function optional<T>(bind: () => T, fallback: T): T {
  try {
    return bind();
  } catch {
    return fallback;
  }
}

/** The buffers given to koffi are held by whoever waits for the call, so that they outlive it. */
function bindActions(libc: LibraryHandle) {
  const init = libc.func("int posix_spawn_file_actions_init(void *actions)");
  const destroy = libc.func("int posix_spawn_file_actions_destroy(void *actions)");
  const addDup = libc.func("int posix_spawn_file_actions_adddup2(void *actions, int from, int to)");
  const addOpen = libc.func(
    "int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, uint mode)",
  );
  // From glibc 2.34 on. It is for what others left open to this process: all that is opened here is close-on-exec.
  const addCloseFrom = optional<(actions: Buffer, from: number) => number>(
    () => libc.func("int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)"),
    () => 0,
  );
  return async (stdio: SpawnRequest["stdio"], use: (actions: Buffer) => Promise<number>) => {
    const actions = Buffer.alloc(ACTIONS_BYTES);
    requireSuccess(init(actions), "file actions");
    try {
      for (const to of STDIO) {
        const from = stdio[to];
        const added =
          from === undefined ? addOpen(actions, to, "/dev/null", 0, 0) : addDup(actions, from, to);
        requireSuccess(added, "file actions");
      }
      requireSuccess(addCloseFrom(actions, STDIO.length), "file actions");
      return await use(actions);
    } finally {
      destroy(actions);
    }
  };
}

function bindStart(libc: LibraryHandle): Start {
  const posixSpawn = libc.func(
    "int posix_spawn(void *pid, const char *file, void *actions, void *attributes, const char **argv, const char **envp)",
  );
  const attributes = Buffer.alloc(ATTRIBUTES_BYTES);
  const none = Buffer.alloc(SIGNALS_BYTES);
  const all = Buffer.alloc(SIGNALS_BYTES, 0xff); // Node ignores SIGPIPE, and a program would inherit that
  libc.func("int posix_spawnattr_init(void *attributes)")(attributes);
  libc.func("int posix_spawnattr_setsigmask(void *attributes, void *signals)")(attributes, none);
  libc.func("int posix_spawnattr_setsigdefault(void *attributes, void *signals)")(attributes, all);
  const setFlags = libc.func("int posix_spawnattr_setflags(void *attributes, int16 flags)");
  requireSuccess(setFlags(attributes, SETSIGDEF | SETSIGMASK | SETSID), "attributes");
  return (file, actions, argv, envp) =>
    new Promise((resolve, reject) => {
      const pid = Buffer.alloc(4);
      const texts = [
        [...argv, null],
        [...envp, null],
      ];
      posixSpawn.async(pid, file, actions, attributes, ...texts, (error: unknown, errno: number) => {
        if (error) reject(error);
        else resolve(errno === 0 ? pid.readInt32LE() : -errno);
      });
    });
}
