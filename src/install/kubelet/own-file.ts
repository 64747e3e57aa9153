/** Names of files of our own in directories whose files are read by name, the last one holding. Pure. */
import { refusal } from "./setup.ts";

/** What every such file of ours is called, but for the ending, unless another one would come after it. */
const names = ["99-trivet", "zz-trivet", "zzzz-trivet"];

export const isOwnName = (name: string): boolean => names.some((own) => name.startsWith(`${own}.`));

/** The path for our file, after all of `rivals`: the others that say something on the same matter. Throws where none is. */
export function ownFile(
  directory: string,
  { ending, rivals }: { readonly ending: string; readonly rivals: readonly string[] },
): string {
  const last =
    rivals
      .filter((name) => !isOwnName(name))
      .sort()
      .at(-1) ?? "";
  const name = names.map((own) => `${own}${ending}`).find((own) => own > last);
  if (name !== undefined) return `${directory}/${name}`;
  throw refusal(
    directory,
    `${directory}/${last} comes after any file of ours and would hold: rename it first`,
  );
}
