/** Applies one target to a message: goes to the message that holds the field, and lets the edit for its kind do it. */
import type { ChangeList } from "./changes.ts";
import { editEntries } from "./edit-entries.ts";
import { appendElements, editWhere, removeElements, setElement } from "./edit-list.ts";
import { removeWhole, setWhole } from "./edit-whole.ts";
import { MessageEditor } from "./editor.ts";
import type { Step } from "./field-path.ts";
import { bytesMatcher, elementLabel, rewriteList } from "./list.ts";
import { stepText, type Target } from "./targets.ts";

/** Edits `root`, the message that the target's path starts in. `prefix` goes before the path in what is taken down. */
export function runTarget(root: MessageEditor, target: Target, list: ChangeList, prefix = ""): void {
  descend(root, { steps: target.path.steps, depth: 0, prefix, list, target });
}

interface Way {
  readonly steps: readonly Step[];
  readonly depth: number;
  /** What has been walked, with a dot behind it. */
  readonly prefix: string;
  readonly list: ChangeList;
  readonly target: Target;
}

function descend(editor: MessageEditor, way: Way): void {
  const { steps, depth, prefix } = way;
  const step = steps[depth];
  if (!step) return;
  if (depth === steps.length - 1) {
    editAt(editor, way);
    return;
  }
  const { field, number, selector } = step;
  if (!field || !selector) {
    descend(editor.child(number), { ...way, depth: depth + 1, prefix: `${prefix}${stepText(step)}.` });
    return;
  }
  // Every element with this key: a runtime may take either.
  const message = editor.bytesFor(number);
  const matches = bytesMatcher(field, selector);
  const edited = rewriteList(message, field, (start, end, index) => {
    if (!matches(message, start, end, index)) return undefined;
    const element = new MessageEditor(message.subarray(start, end));
    const label = elementLabel(field, message, start, end, index);
    descend(element, { ...way, depth: depth + 1, prefix: `${prefix}${field.name}${label}.` });
    return element.finish();
  });
  editor.accept(edited);
}

function editAt(editor: MessageEditor, { prefix, target, list }: Way): void {
  switch (target.kind) {
    case "whole":
      setWhole(editor, target, list, prefix);
      return;
    case "entries":
      editEntries(editor, target, list, prefix);
      return;
    case "append":
      appendElements(editor, target, list, prefix);
      return;
    case "element":
      setElement(editor, target, list, prefix);
      return;
    case "where":
      editWhere(editor, { target, list, prefix, runInner: runTarget });
      return;
    default:
      if (target.path.last.selector) removeElements(editor, target, list, prefix);
      else removeWhole(editor, target, list, prefix);
  }
}
