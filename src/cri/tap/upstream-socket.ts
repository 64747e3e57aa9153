/**
 * A socket that survives its own failed writes. A runtime that dies leaves responses in our receive buffer; Node destroys a
 * socket at the first EPIPE, and those with it. Here a failed write is only told, and reading goes on to the end.
 */
import type { Socket } from "node:net";

type Done = (error?: Error | null) => void;

/** From the first failed write on, writes are dropped; `onFailed` gets its errno name, once. */
export function keepReadingAfterWriteErrors(
  socket: Socket,
  onFailed: (code: string | undefined) => void,
): void {
  let failed = false;
  const tolerant =
    (done: Done): Done =>
    (error) => {
      if (error && !failed) {
        failed = true;
        onFailed((error as NodeJS.ErrnoException).code);
      }
      done();
    };
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  const final = socket._final.bind(socket);
  socket._write = (chunk, encoding, done) => {
    if (failed) done();
    else write(chunk, encoding, tolerant(done));
  };
  socket._final = (done) => {
    if (failed) done();
    else final(tolerant(done));
  };
  if (writev === undefined) return;
  socket._writev = (chunks, done) => {
    if (failed) done();
    else writev(chunks, tolerant(done));
  };
}
