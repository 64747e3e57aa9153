/**
 * The edits as the disk has their files: by their real paths, so that a link to a file stays a link, and only files that come through
 * a change unharmed. Changes nothing.
 */
import { ifThere } from "../state.ts";
import type { KubeletDeps } from "./deps.ts";
import type { Edit } from "./edits.ts";
import { refusal } from "./setup.ts";

/** Throws kind `precondition` for a file whose bytes are not UTF-8: text that was made of them cannot be made bytes again. */
export async function locateEdits(
  { files }: Pick<KubeletDeps, "files">,
  edits: readonly Edit[],
): Promise<Edit[]> {
  const located: Edit[] = [];
  for (const edit of edits) {
    const path = (await ifThere(files.realPath(edit.path))) ?? edit.path;
    const bytes = edit.before === undefined ? undefined : await ifThere(files.read(path));
    if (bytes && !Buffer.from(bytes.toString("utf8")).equals(bytes)) {
      throw refusal(
        path,
        `${path} is not UTF-8, and would be damaged by a change: convert it first, or edit it by hand`,
      );
    }
    located.push({ ...edit, path });
  }
  return located;
}
