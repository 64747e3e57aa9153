/** Hands what an outlet gathered to a socket, in as few system calls as it takes. */
import type { Socket } from "node:net";

/** Up to here copying pieces together is cheaper than a vectored write. */
const COPY_BYTES = 16_384;

/** Writes all pieces in order; drops them where the socket takes no more, as its end is told elsewhere. */
export function writePieces(socket: Socket, pieces: readonly Buffer[]): void {
  const [first] = pieces;
  if (first === undefined || !socket.writable) return;
  if (pieces.length === 1) {
    socket.write(first);
    return;
  }
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  if (bytes <= COPY_BYTES) {
    socket.write(joined(pieces, bytes));
    return;
  }
  socket.cork();
  for (const piece of pieces) socket.write(piece);
  socket.uncork();
}

function joined(pieces: readonly Buffer[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
