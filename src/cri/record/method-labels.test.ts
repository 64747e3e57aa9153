import { describe, expect, it } from "vitest";
import { createMethodLabels } from "./method-labels.ts";

describe("the label of a method", () => {
  it("is its name, also for one that nobody has invented yet", () => {
    const label = createMethodLabels();
    expect(["Version", "MethodOfTomorrow"].map(label)).toEqual(["Version", "MethodOfTomorrow"]);
  });

  it.each(["/grpc.health.v1.Health/Check", "no-path", "", "x".repeat(65)])("of %j is other", (method) => {
    expect(createMethodLabels()(method)).toBe("other");
  });

  it("is one of a bounded number, and stays what it was", () => {
    const label = createMethodLabels();
    const labels = new Set(Array.from({ length: 10_000 }, (_, index) => label(`Method${index}`)));
    expect(labels.size).toBeLessThan(200);
    expect(label("Method0")).toBe("Method0");
  });
});
