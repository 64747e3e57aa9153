/** A tenant: another user who writes into a volume until the kernel stops it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const NOBODY = 65_534;

const program = `
const fs = require("node:fs");
const [, path, limit] = process.argv;
const piece = Buffer.alloc(262144, 1);
let bytes = 0, errno = 0;
try {
  const fd = fs.openSync(path, "a", 0o644);
  try {
    while (bytes < Number(limit)) bytes += fs.writeSync(fd, piece);
    fs.fsyncSync(fd);
  } finally { fs.closeSync(fd); }
} catch (error) { errno = -error.errno; }
process.stdout.write(JSON.stringify({ bytes, errno }));
`;

/** What a writer got to. */
export interface Written {
  /** Given to the kernel, and not refused. */
  readonly bytes: number;
  /** 0, or what it was refused with: 28 is ENOSPC, 122 is EDQUOT. */
  readonly errno: number;
}

/** Appends to the file at `path`, as the user nobody, until `limitBytes` are written or the kernel refuses. */
export async function writeAsNobody(path: string, limitBytes: number): Promise<Written> {
  const { stdout } = await run(process.execPath, ["-e", program, "--", path, String(limitBytes)], {
    ...{ uid: NOBODY, gid: NOBODY, env: {}, cwd: "/" },
  });
  return JSON.parse(stdout) as Written;
}
