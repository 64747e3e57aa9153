/** One question to the agent over its unix socket. Tells apart what was certainly not begun from what may have been. */
import { connect } from "node:net";
import {
  type AgentCall,
  type AgentReply,
  decodeReply,
  encodeCall,
  isGoAhead,
} from "../protocol/agent-frame.ts";

/** One question, and how long each part may take. */
export interface AskOptions {
  readonly socketPath: string;
  readonly call: AgentCall;
  /** For the kernel's connection. */
  readonly connectTimeoutMs: number;
  /** For the agent's word that it listens: a connection alone is made by the kernel, even where the agent hangs. */
  readonly goTimeoutMs: number;
  readonly answerTimeoutMs: number;
}

/** `begun`: the agent may have begun with the call. */
export type Answer = { readonly reply: AgentReply } | { readonly begun: boolean; readonly why: string };

/** Never rejects: every failure says whether the call may have been begun. */
export function askAgent(options: AskOptions): Promise<Answer> {
  const { socketPath, call, connectTimeoutMs, goTimeoutMs, answerTimeoutMs } = options;
  const { first, rest } = encodeCall(call);
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    let begun = false;
    let timer: NodeJS.Timeout | undefined;
    const socket = connect({ path: socketPath });
    const settle = (answer: Answer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const giveUp = (why: string) => settle({ begun, why });
    const patience = (ms: number, what: string) => {
      clearTimeout(timer);
      timer = setTimeout(() => giveUp(`the agent did not ${what} within ${ms} ms`), ms);
    };
    patience(connectTimeoutMs, "accept the connection");
    socket.once("connect", () => {
      patience(goTimeoutMs, "take the call");
      socket.write(first);
    });
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (!begun) {
        const end = received.indexOf(0x0a);
        if (end < 0) return;
        if (!isGoAhead(received.subarray(0, end).toString("utf8")))
          return giveUp("the agent does not take the call");
        received = received.subarray(end + 1);
        begun = true;
        patience(answerTimeoutMs, "answer");
        socket.write(rest);
      }
      const reply = received.length === 0 ? "more" : decodeReply(received);
      if (reply === undefined) giveUp("the agent's answer cannot be read");
      else if (reply !== "more") settle({ reply });
    });
    socket.once("error", (error) => giveUp(`the agent at ${socketPath} cannot be reached: ${error.message}`));
    socket.once("close", () => giveUp("the agent ended the connection without an answer"));
  });
}
