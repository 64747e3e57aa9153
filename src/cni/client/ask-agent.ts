/** One question to the agent over its unix socket. Tells apart what was certainly not received from what may have been. */
import { connect } from "node:net";
import { type AgentReply, decodeReply } from "../protocol/agent-frame.ts";

/** One question: a whole frame, and how long each part may take. */
export interface AskOptions {
  readonly socketPath: string;
  readonly request: string;
  readonly connectTimeoutMs: number;
  readonly answerTimeoutMs: number;
}

/** `sent`: the agent may have begun with the call. */
export type Answer = { readonly reply: AgentReply } | { readonly sent: boolean; readonly why: string };

/** Never rejects: every failure says whether the request may have been received. */
export function askAgent(options: AskOptions): Promise<Answer> {
  const { socketPath, request, connectTimeoutMs, answerTimeoutMs } = options;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sent = false;
    const socket = connect({ path: socketPath });
    const settle = (answer: Answer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const giveUp = (why: string) => settle({ sent, why });
    let timer = setTimeout(() => giveUp("the agent did not accept the connection in time"), connectTimeoutMs);
    socket.once("connect", () => {
      clearTimeout(timer);
      timer = setTimeout(
        () => giveUp(`the agent did not answer within ${answerTimeoutMs} ms`),
        answerTimeoutMs,
      );
      sent = true;
      socket.write(request);
    });
    socket.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (!chunk.includes(0x0a)) return;
      const reply = decodeReply(Buffer.concat(chunks).toString("utf8"));
      if (reply) settle({ reply });
      else giveUp("the agent's answer cannot be read");
    });
    socket.once("error", (error) => giveUp(`the agent at ${socketPath} cannot be reached: ${error.message}`));
    socket.once("close", () => giveUp("the agent ended the connection without an answer"));
  });
}
