/** The CSI leg in a process of its own, to be killed: `node csi-process.ts ROOT`, on ROOT/csi.sock. */
import { createMounts } from "../../../src/host/mount.ts";
import { createSyscalls } from "../../../src/host/syscall.ts";
import { startSubject } from "../../conformance/csi/subject.ts";

const root = process.argv[2];
if (!root) throw new Error("give a directory");
const subject = await startSubject({ root, mounts: () => createMounts(createSyscalls()) });
await subject.server.ready;
process.stdout.write("ready\n");
