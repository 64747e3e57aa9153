import { describe, expect, test } from "vitest";
import { createLedger } from "./ledger.ts";

const room = { limitBytes: 100, availableBytes: 1_000 };

describe("a ledger", () => {
  test("reserves up to the limit and not a byte more", () => {
    const ledger = createLedger("p");
    ledger.reserve("a", 60, room);
    ledger.reserve("b", 40, room);
    expect(() => ledger.reserve("c", 1, room)).toThrow(expect.objectContaining({ kind: "exhausted" }));
    expect(ledger.reservedBytes).toBe(100);
  });

  test("reserves no more than the disk has free", () => {
    const ledger = createLedger("p");
    expect(() => ledger.reserve("a", 51, { limitBytes: 100, availableBytes: 50 })).toThrow(
      '51 bytes do not fit into pool "p": 50 are left',
    );
  });

  test("counts a second reservation of one volume in place of the first", () => {
    const ledger = createLedger("p");
    ledger.reserve("a", 80, room);
    ledger.reserve("a", 90, room);
    expect(ledger.reservedBytes).toBe(90);
  });

  test("gives back what is released, once", () => {
    const ledger = createLedger("p");
    ledger.reserve("a", 80, room);
    ledger.release("a");
    ledger.release("a");
    expect(ledger.reservedBytes).toBe(0);
  });

  test("moves a reservation, and moves nothing where there is none", () => {
    const ledger = createLedger("p");
    ledger.reserve("a", 80, room);
    ledger.move("a", "trash/a");
    ledger.move("a", "trash/b");
    expect([...ledger.entries()]).toEqual([["trash/a", 80]]);
  });

  test("enters what exists even if it is more than there may be, and then says that nothing is left", () => {
    const ledger = createLedger("p");
    ledger.enter("a", 500);
    expect(() => ledger.reserve("b", 1, room)).toThrow("0 are left (500 of 100 reserved");
  });
});
