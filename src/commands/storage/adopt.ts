/** `trivet storage adopt`: makes a volume of a directory that exists, and prints its PersistentVolume. */
import type { Command } from "commander";
import { stringify } from "yaml";
import { persistentVolumeOf } from "../../csi/adopt/manifest.ts";
import { parseQuantity } from "../../csi/pool/quantity.ts";
import { TrivetError } from "../../errors.ts";
import { print } from "../print.ts";
import { addStorageSettings, askStorage, readStorageSettings } from "./access.ts";

interface AdoptFlags {
  readonly into?: string;
  readonly size?: string;
  readonly name?: string;
  readonly claim?: string;
  readonly storageClass: string;
  readonly copy?: boolean;
}

/** Adds the subcommand to `trivet storage`. */
export function defineAdopt(storage: Command): void {
  const command = storage
    .command("adopt")
    .description("make a volume of an existing directory, such as one of local-path-provisioner")
    .argument("<path>", "the directory; it is renamed into the pool")
    .option("--into <pool>", "the pool (default: default, or the only one)")
    .option("--size <size>", "such as 10Gi (default: what it holds, rounded up to a mebibyte)")
    .option("--name <name>", "of the PersistentVolume (default: made of the directory's name)")
    .option(
      "--claim <namespace/name>",
      "the claim that it is for (default: as local-path-provisioner names it)",
    )
    .option("--storage-class <name>", "of the PersistentVolume", "trivet-local")
    .option("--copy", "copy what it holds and leave it as it is, where it cannot be renamed");
  addStorageSettings(command)
    .addHelpText(
      "after",
      `
Refused are directories in use, mount points, and what leads through symbolic links. Without --copy nothing is copied: a directory
on another file system, or a pool with quotas, whose limits hold only for what is written below them, needs --copy. It may
be repeated, and then prints the same PersistentVolume. The PersistentVolume says Retain.

Example, with the pod stopped and the old PersistentVolume set to Retain and deleted:
  trivet storage adopt /opt/local-path-provisioner/pvc-0b0e..._shop_data-db-0 --size 20Gi | kubectl apply -f -`,
    )
    .action(async (path: string, flags: AdoptFlags) => {
      const config = await readStorageSettings(command);
      const { into, size, name, copy } = flags;
      const request = {
        path,
        ...(into === undefined ? {} : { pool: into }),
        ...(size === undefined ? {} : { sizeBytes: parseQuantity("--size", size) }),
        ...(name === undefined ? {} : { name }),
        ...(flags.claim === undefined ? {} : { claim: parseClaim(flags.claim) }),
        ...(copy ? { copy } : {}),
      };
      const adopted = await askStorage(config, (admin) => admin.adopt(request));
      process.stderr.write(
        `trivet: ${path} ${outcomes[adopted.outcome]} volume ${adopted.id} of pool ${adopted.pool}\n`,
      );
      print(stringify(persistentVolumeOf(adopted, flags.storageClass)));
    });
}

const outcomes = { renamed: "is now", copied: "was copied to", already: "was adopted before, as" } as const;

function parseClaim(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace, name, ...rest] = text.split("/");
  if (namespace && name && rest.length === 0) return { namespace, name };
  const message = `--claim is "${text}": give NAMESPACE/NAME`;
  throw new TrivetError({ kind: "invalid", op: "settings.parse", subject: "--claim", message });
}
