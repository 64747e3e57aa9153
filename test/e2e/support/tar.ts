/** Writes POSIX ustar archives with fixed owners and times, so that equal content gives equal bytes. In memory. */

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;

const typeFlag = { file: "0", symlink: "2", directory: "5" } as const;

interface Entry {
  readonly name: string;
  readonly type: keyof typeof typeFlag;
  readonly mode: number;
  readonly content?: Buffer;
  readonly target?: string;
}

/** A number as octal digits with a closing NUL, as ustar has them. */
function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}

function header({ name, type, mode, content, target = "" }: Entry): Buffer {
  for (const text of [name, target]) {
    if (Buffer.byteLength(text) > NAME_BYTES) throw new Error(`${text} is too long for a tar header`);
  }
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0);
  block.write(octal(mode, 8), 100);
  block.write(octal(0, 8), 108); // uid
  block.write(octal(0, 8), 116); // gid
  block.write(octal(content?.length ?? 0, 12), 124);
  block.write(octal(0, 12), 136); // modification time
  block.write(" ".repeat(8), 148); // the checksum counts as blanks
  block.write(typeFlag[type], 156);
  block.write(target, 157);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 7)} `, 148);
  return block;
}

export class TarWriter {
  readonly #parts: Buffer[] = [];

  file(name: string, content: Buffer, mode = 0o644): void {
    const padding = Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES);
    this.#parts.push(header({ name, type: "file", mode, content }), content, padding);
  }

  directory(name: string, mode: number): void {
    this.#parts.push(header({ name, type: "directory", mode }));
  }

  symlink(name: string, target: string): void {
    this.#parts.push(header({ name, type: "symlink", mode: 0o777, target }));
  }

  /** The whole archive: two empty blocks close it. */
  end(): Buffer {
    return Buffer.concat([...this.#parts, Buffer.alloc(2 * BLOCK_BYTES)]);
  }
}
