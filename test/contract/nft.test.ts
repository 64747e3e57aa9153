import { describe, test } from "vitest";
import { createFakeNft } from "../fakes/nft.ts";
import { nftContract } from "./nft.ts";

describe("the fake nf_tables keeps the contract", () => {
  test.each(nftContract)("$title", ({ run }) => run({ nft: createFakeNft(), table: "trivet" }));
});
