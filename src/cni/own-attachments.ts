/** The attachments that pods have: for repairs of what lies outside of the state. */
import type { CniDeps } from "./deps.ts";
import type { AttachmentRecord } from "./state/attachments.ts";
import { listAttachments } from "./state/list-attachments.ts";

/** Those of all networks whose ADD has ended. */
export async function ownAttachments(
  deps: Pick<CniDeps, "files" | "bootId">,
  stateDir: string,
): Promise<AttachmentRecord[]> {
  return (await listAttachments(deps, stateDir)).filter(({ state }) => state === "committed");
}
