import { expect, it } from "vitest";
import { allMethods } from "../wire/descriptors.ts";
import { methodClass } from "./method-class.ts";

it.each(allMethods().map(({ name }) => name))("%s has a class", (method) => {
  expect(methodClass(method)).not.toBe("other");
});

it.each(["MethodOfTomorrow", "/grpc.health.v1.Health/Check", "", "constructor"])("%j is other", (method) => {
  expect(methodClass(method)).toBe("other");
});
