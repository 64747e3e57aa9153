/** The HPACK decoder against the reference: for any blocks both give the same fields, or both refuse; and its table keeps its size. */
import { HpackDecoder } from "../../src/cri/tap/hpack/decoder.ts";
import { HpackWriter } from "../../src/cri/tap/testing/hpack-writer.ts";
import type { Random } from "../../src/cri/tap/testing/random.ts";
import { isKind } from "../../src/errors.ts";
import { type Field, Malformed, ReferenceHpack } from "./reference-hpack.ts";
import { check, type FuzzTarget, mutate, type Verdict } from "./target.ts";

const NAMES = [":path", ":authority", "grpc-timeout", "grpc-status", "x-a", "x-b", "content-type", "", "é"];
const WANTED: ReadonlySet<string> = new Set([":path", "grpc-status", "x-a"]);

function randomFields(random: Random): Field[] {
  return Array.from({ length: random.below(6) }, () => {
    const name = random.chance(6)
      ? random.bytes(random.below(12)).toString("latin1")
      : NAMES[random.below(9)];
    const length = random.below(random.chance(9) ? 600 : 12);
    return [name ?? "", random.bytes(length).toString(random.chance(2) ? "latin1" : "hex")];
  });
}

function outcome(decode: () => Field[], isMeant: (error: unknown) => boolean): Field[] | undefined {
  try {
    return decode();
  } catch (error) {
    if (!isMeant(error)) throw error;
    return undefined;
  }
}

function decodeWith(decoder: HpackDecoder, block: Buffer): Field[] {
  const fields: Field[] = [];
  // In the middle of other bytes, as it lies in a chunk.
  const around = Buffer.concat([Buffer.of(0x82, 0xff), block, Buffer.of(0x82, 0x82)]);
  decoder.decode(
    around,
    { start: 2, end: 2 + block.length },
    { field: (name, value) => fields.push([name, value]) },
  );
  return fields;
}

const show = (fields: readonly Field[] | undefined) => JSON.stringify(fields);
const isDecode = (error: unknown) => isKind(error, "decode");

function attempt(random: Random): Verdict {
  const writer = new HpackWriter(random);
  const all = new HpackDecoder();
  const some = new HpackDecoder(WANTED);
  const reference = new ReferenceHpack();
  let inStep = true;
  for (let blocks = 1 + random.below(4); blocks > 0; blocks--) {
    if (random.chance(4)) {
      const limit = random.below(random.chance(9) ? 3 << 20 : 6_000);
      writer.setLimit(limit);
      all.setLimit(limit);
      some.setLimit(limit);
      reference.limitBytes = limit;
    }
    const sent = randomFields(random);
    const valid = writer.block(sent);
    const changed = random.chance(3);
    const block = changed
      ? mutate(random, valid)
      : random.chance(20)
        ? random.bytes(random.below(30))
        : valid;
    const wanted = outcome(
      () => reference.decode(block),
      (error) => error instanceof Malformed,
    );
    const got = outcome(() => decodeWith(all, block), isDecode);
    const few = outcome(() => decodeWith(some, block), isDecode);
    check(
      show(got) === show(wanted),
      `${show(got)} where ${show(wanted)} is right: ${block.toString("hex")}`,
    );
    const filtered = wanted?.filter(([name]) => WANTED.has(name));
    check(show(few) === show(filtered), `${show(few)} where ${show(filtered)} was asked for`);
    inStep &&= block === valid; // a changed block that can be read leaves another table than the writer's
    if (inStep) check(show(got) === show(sent), "a valid block came out otherwise");
    check(all.tableSizeBytes <= all.tableMaxBytes, "a table larger than its maximum");
    if (got === undefined) return "refused";
    check(all.tableSizeBytes === reference.tableBytes, "another table");
    check(some.tableSizeBytes === reference.tableBytes, "another table of the one that reads less");
  }
  return "accepted";
}

export const hpackTarget: FuzzTarget = { name: "hpack", share: 10, attempt };
