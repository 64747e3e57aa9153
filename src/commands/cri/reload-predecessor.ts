/**
 * A successor's side of a hand-over: what the process that serves told it at the start, and the talk between the two. The
 * other side is `reload-successor.ts`; both may be of another version, so that each ignores what it does not know.
 */
import type { ListenerOwner } from "./listeners.ts";

/** The variable that says so, and what it holds as JSON. */
export const handOverVariable = "TRIVET_HAND_OVER";

/** A listening descriptor as it is handed over; its number follows from its place: 3, 4 and so on. */
export interface HandedSocket {
  readonly name: string;
  /** The name that clients use. */
  readonly path: string;
  readonly owner: ListenerOwner;
}

/** From the successor. */
export type SuccessorMessage =
  | {
      readonly type: "prepared";
      readonly pid: number;
      readonly version: string;
      readonly kept: readonly string[];
    }
  | { readonly type: "serving" }
  | { readonly type: "failed"; readonly message: string };

/** To the successor. */
export interface PredecessorMessage {
  readonly type: "take-over";
}

/** The process that serves, which has started this one. */
export interface Predecessor {
  readonly sockets: readonly HandedSocket[];
  /** All that can fail early has not failed. */
  prepared(self: { readonly version: string; readonly kept: readonly string[] }): void;
  /** Resolves when this process is to serve: told so, or because the other one is gone. */
  turn(): Promise<"told" | "gone">;
  /** The last word of a success: the two are strangers from now on. */
  serving(): void;
  /** The last word of a failure. */
  failed(error: unknown): void;
}

/** Whatever of `process` is used. */
export type SuccessorProcess = Pick<
  NodeJS.Process,
  "pid" | "env" | "on" | "send" | "disconnect" | "connected"
>;

/** Undefined if nobody hands over to this process. Takes the variable away: children must not see it. */
export function takePredecessor(self: SuccessorProcess): Predecessor | undefined {
  const text = self.env[handOverVariable];
  delete self.env[handOverVariable];
  if (text === undefined || self.send === undefined) return undefined;
  const { sockets } = JSON.parse(text) as { sockets: HandedSocket[] };
  let onTurn: (why: "told" | "gone") => void = () => undefined;
  const turn = new Promise<"told" | "gone">((resolve) => {
    onTurn = resolve;
  });
  self.on("message", (message: PredecessorMessage) => {
    if (message?.type === "take-over") onTurn("told");
  });
  self.on("disconnect", () => onTurn("gone"));
  if (!self.connected) onTurn("gone");
  // It may be gone between any two lines; that is found out by `turn`, not by a failed word to it.
  const say = (message: SuccessorMessage, after?: () => void) => {
    if (self.connected) self.send?.(message, undefined, undefined, () => after?.());
  };
  const leave = () => {
    if (self.connected) self.disconnect?.();
  };
  return {
    sockets,
    prepared: ({ version, kept }) => say({ type: "prepared", pid: self.pid, version, kept }),
    turn: () => turn,
    serving: () => say({ type: "serving" }, leave),
    failed: (error) =>
      say({ type: "failed", message: error instanceof Error ? error.message : String(error) }, leave),
  };
}
