/**
 * Acts on one finding. What was true a moment ago is looked at again, with the guard of the file held that the finding is about: so
 * nothing that came in between is touched, however long this process was stopped.
 */
import { join } from "node:path";
import type { CniDeps } from "../deps.ts";
import { decodeLease, releaseIf } from "../ipam/leases.ts";
import { clearParts } from "../record.ts";
import { type AttachmentRecord, readAttachment } from "../state/attachments.ts";
import { withStaged } from "../state/claim.ts";
import { encodeEntry } from "../state/entry.ts";
import { nullIfAbsent, unlinkGuarded, withGuard } from "../state/guard.ts";
import { type NetworkPaths, networkPaths } from "../state/paths.ts";
import { hasLink, whyDead } from "./alive.ts";
import type { Finding } from "./finding.ts";

interface SettleOptions {
  readonly stateDir: string;
  readonly finding: Finding;
  /** The runtime has said that the attachment is not valid: whether its pod looks alive does not matter. */
  readonly condemned?: boolean;
}

/** Whether it was done: not if things have changed since. */
export async function settle(deps: CniDeps, options: SettleOptions): Promise<boolean> {
  const { finding } = options;
  const paths = networkPaths(join(options.stateDir, deps.bootId), finding.network);
  switch (finding.kind) {
    case "dead attachment":
    case "unreadable record":
      return settleRecord(deps, paths, { finding, condemned: options.condemned === true });
    case "lease without record":
      return settleLease(deps, paths, finding);
    case "unreadable lease":
      return unlinkGuarded(deps.files, {
        path: paths.lease(finding.address),
        holds: sameAs(finding.content),
      });
    case "missing lease":
      return repairLease(deps, paths, finding);
    case "staged file":
      await nullIfAbsent(deps.files.unlink(join(paths.staging, finding.name)));
      return true;
  }
}

const sameAs = (content: Buffer) => (present: Buffer) => present.equals(content);

type Of<Kind extends Finding["kind"]> = Extract<Finding, { kind: Kind }>;

interface RecordFinding {
  readonly finding: Of<"dead attachment" | "unreadable record">;
  readonly condemned: boolean;
}

/** With the record's guard held no new ADD of this attachment can begin: its name is taken until the end. */
async function settleRecord(
  deps: CniDeps,
  paths: NetworkPaths,
  { finding, condemned }: RecordFinding,
): Promise<boolean> {
  const { content } = finding;
  const readable = finding.kind === "dead attachment";
  const key = readable ? finding.record : finding.key;
  const path = paths.attachment(key);
  let done = false;
  const act = async () => {
    const lives = readable
      ? (await whyDead(deps, finding.record, deps.clock.nowMs())) === undefined
      : await hasLink(deps, key);
    if (lives && !condemned) return;
    await clearParts(deps, { paths, key, found: readable ? finding.record : "unreadable" });
    await nullIfAbsent(deps.files.unlink(path));
    done = true;
  };
  await withGuard(deps.files, { path, holds: sameAs(content), act });
  return done;
}

async function settleLease(
  { files, clock }: CniDeps,
  paths: NetworkPaths,
  { network, address, content }: Of<"lease without record">,
): Promise<boolean> {
  const lease = decodeLease(content, { network, address });
  const owner = lease && (await readAttachment(files, paths, lease));
  const unsure = owner === "unreadable" || owner?.state === "pending";
  if (unsure || owner?.addresses.includes(address)) return false;
  return releaseIf({ files, clock, paths, address, holds: sameAs(content) });
}

/** The pod's address must not be given to another: its lease is made again from its record, if nobody has it. */
async function repairLease(
  deps: CniDeps,
  paths: NetworkPaths,
  { address, record }: Of<"missing lease">,
): Promise<boolean> {
  const { files } = deps;
  const { network, containerId, ifname, pod, createdAtMs } = record;
  const staging = { files, paths, prefix: paths.stagingPrefix(record), nonce: deps.nonce() };
  const content = encodeEntry("committed", { network, containerId, ifname, pod, createdAtMs });
  const path = paths.lease(address);
  let done = false;
  const act = () =>
    withStaged(staging, content, async (staged) => {
      const isUnreadable = (present: Buffer) => !decodeLease(present, { network, address })?.containerId;
      done =
        (await staged.claim(path)) ||
        (await withGuard(files, { path, holds: isUnreadable, act: () => staged.replace(path) }));
    });
  await withGuard(files, { path: paths.attachment(record), holds: isRecord(record), act });
  return done;
}

function isRecord({ claim }: AttachmentRecord): (content: Buffer) => boolean {
  return (content) => content.includes(JSON.stringify(claim));
}
