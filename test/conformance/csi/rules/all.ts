/** All rules, in the order in which the specification names the calls. */
import type { Rule } from "../rule.ts";
import { createVolumeRules, deleteVolumeRules, validateRules } from "./create-volume.ts";
import { identityRules } from "./identity.ts";
import { capacityRules, listingRules } from "./listing.ts";
import { expandRules, publishRules, stageRules, statsRules, unpublishRules } from "./node.ts";
import { contentSourceRules, createSnapshotRules, listSnapshotRules } from "./snapshots.ts";

export const allRules: readonly Rule[] = [
  ...identityRules,
  ...createVolumeRules,
  ...contentSourceRules,
  ...deleteVolumeRules,
  ...validateRules,
  ...listingRules,
  ...capacityRules,
  ...createSnapshotRules,
  ...listSnapshotRules,
  ...stageRules,
  ...publishRules,
  ...unpublishRules,
  ...statsRules,
  ...expandRules,
];
