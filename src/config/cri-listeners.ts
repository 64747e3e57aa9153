/** The settings of the extra listeners of `trivet cri`: sockets on which some methods are served, to some users. */
import * as v from "valibot";
import { allowedWords, isAllowedWord } from "../cri/serve/methods.ts";
import { nearestName } from "../cri/wire/nearest.ts";
import { text, unixAddress } from "./values.ts";

const MAX_ID = 2 ** 32 - 2; // the last one means "leave it" to chown(2)

/** A DNS label, as it goes into logs, LISTEN_FDNAMES and FileDescriptorName=. */
const listenerName = v.pipe(
  text,
  v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "must be lower-case letters, digits and hyphens"),
  v.check((name) => name !== "cri", "must not be cri, which is the main socket"),
);

const allowedWord = v.pipe(
  text,
  v.check(isAllowedWord, ({ input }) => {
    const nearest = nearestName(String(input), allowedWords);
    const hint = nearest ? `: did you mean ${nearest}?` : ", a group or /package.Service/Method";
    return `must be a method of the CRI${hint}`;
  }),
);

const id = v.pipe(
  v.number("must be a number"),
  v.integer("must be a whole number"),
  v.minValue(0, "must not be negative"),
  v.maxValue(MAX_ID, `must not be above ${MAX_ID}`),
);

const listenerSchema = v.strictObject({
  name: listenerName,
  listen: unixAddress,
  /** Methods by name, groups of methods, or `:path` of methods that this version does not know. */
  methods: v.pipe(v.array(allowedWord, "must be a list"), v.minLength(1, "must name a method or a group")),
  /** Users that may connect; any that can open the socket without it. */
  uids: v.optional(v.pipe(v.array(id, "must be a list"), v.minLength(1, "must name a user, or be left out"))),
  /** Of the socket file. */
  mode: v.optional(
    v.pipe(
      // In YAML 1.2 a plain 0660 is the number 660, and 660 is 01224.
      v.string('must be text in quotes, such as "0660"'),
      v.regex(/^0?[0-7]{3}$/, 'must be three octal digits in quotes, such as "0660"'),
      v.transform((octal) => Number.parseInt(octal, 8)),
    ),
    "0600",
  ),
  /** Of the socket file: a number, or a name in /etc/group. */
  group: v.optional(v.union([id, v.pipe(text, v.regex(/^[a-z_][a-z0-9_.-]*\$?$/i, "must be a group"))])),
});

const isUnique = (values: readonly string[]) => new Set(values).size === values.length;

export const listenersSchema = v.pipe(
  v.array(listenerSchema, "must be a list"),
  v.check((list) => isUnique(list.map(({ name }) => name)), "two listeners have the same name"),
  v.check((list) => isUnique(list.map(({ listen }) => listen)), "two listeners have the same socket"),
);

export type CriListenerConfig = v.InferOutput<typeof listenerSchema>;
