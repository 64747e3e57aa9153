/**
 * Takes secrets out of text that a policy made: its author may have put a field of the request into a message. What the
 * descriptors mark in that request must not be in the record, in whatever sentence it stands.
 */
import { messageType } from "../wire/descriptors.ts";
import { FieldWalk, MessageReader, wireType } from "../wire/fields.ts";
import { isSecretKey, REDACTED } from "../wire/redaction.ts";

/** Shorter values are in every sentence: `1`, `yes`. */
const MIN_SECRET_LENGTH = 4;
const MAX_SECRETS = 1_000;
/** What changes of fields that must not be shown are from and to. */
const QUOTED = JSON.stringify(REDACTED);
const MAX_DEPTH = 16;
/** Of a text in the record. */
const MAX_TEXT_LENGTH = 1_024;

/** Takes the values of a request (a message of this type) that must not be shown out of texts; cuts those that are long. */
export function createScrubber(name: string, request: Uint8Array): (text: string) => string {
  // Most of what is said is too short to have a secret in it, or was redacted before: then none is looked for.
  let forms: readonly string[] | undefined;
  return (text) => {
    if (text.length < MIN_SECRET_LENGTH || text === QUOTED) return text;
    try {
      forms ??= formsOf(name, request);
    } catch {
      // We do not know what is in it, so nothing that may come of it is shown.
      return REDACTED;
    }
    return forms
      .reduce((scrubbed, form) => scrubbed.replaceAll(form, REDACTED), text)
      .slice(0, MAX_TEXT_LENGTH);
  };
}

/** The secrets, as they are, and as a message that quotes them would have them. */
function formsOf(name: string, request: Uint8Array): string[] {
  const secrets = new Set<string>();
  collect(name, Buffer.from(request.buffer, request.byteOffset, request.byteLength), secrets, 0);
  // The longest first: one may be the beginning of another.
  return [...secrets]
    .sort((a, b) => b.length - a.length)
    .flatMap((secret) => {
      const quoted = JSON.stringify(secret).slice(1, -1);
      return quoted === secret ? [secret] : [secret, quoted];
    });
}

function collect(name: string, message: Buffer, secrets: Set<string>, depth: number): void {
  const { byNumber } = messageType(name);
  const walk = new FieldWalk(message);
  while (walk.next()) {
    const field = byNumber.get(walk.number);
    if (!field || walk.type !== wireType.bytes) continue;
    const value = message.subarray(walk.valueStart, walk.end);
    if (field.map) {
      const entry = new MessageReader(value);
      if (field.redact || isSecretKey(entry.text([1]))) add(secrets, entry.text([2]));
    } else if (field.message !== undefined) {
      if (depth < MAX_DEPTH) collect(field.message, value, secrets, depth + 1);
    } else if (field.redact) add(secrets, value.toString("utf8"));
  }
}

function add(secrets: Set<string>, value: string): void {
  if (value.length < MIN_SECRET_LENGTH) return;
  if (secrets.size >= MAX_SECRETS) throw new RangeError("too many values to look for");
  secrets.add(value);
}
