/** Two ADDs of two processes that find no bridge at the same time: neither takes the other's work for somebody else's. */
import { expect, test } from "vitest";
import { FakeKernel, FakeProcess } from "../../../test/fakes/netlink.ts";
import type { AllocatedAddress } from "../ipam/allocate.ts";
import { ensureBridge } from "./bridge.ts";

const gateway = "10.88.0.1";
const address: AllocatedAddress = { family: 4, address: "10.88.0.2", prefixLength: 16, gateway };
const options = { name: "trivet0", mac: "02:00:00:00:00:aa", mtu: 1500, addresses: [address] };
const prepare = async () => undefined;

test("a gateway that another ADD has just given to the bridge is not one of another interface", async () => {
  const kernel = new FakeKernel();
  const other = new FakeProcess(kernel).netlink.connect();
  const bridge = await ensureBridge(other, { ...options, addresses: [] }, prepare);
  const process = new FakeProcess(kernel);
  let late = true;
  process.onEffect = (_op, subject, when) => {
    if (!late || when !== "before" || subject !== `route to ${gateway}`) return;
    late = false;
    kernel.host.addAddress({
      op: "address.add",
      linkIndex: bridge.index,
      address: gateway,
      prefixLength: 16,
    });
  };
  const host = process.netlink.connect();
  await expect(ensureBridge(host, options, prepare)).resolves.toMatchObject({ name: "trivet0" });
  expect(await host.addresses(bridge.index)).toEqual([{ address: gateway, prefixLength: 16 }]);
  host.close();
  other.close();
});

test("a gateway that another interface has is refused by name", async () => {
  const kernel = new FakeKernel();
  const uplink = kernel.host.addPlainLink("up0", { mac: "02:00:00:00:00:01", mtu: 1500 });
  const taken = { op: "address.add", linkIndex: uplink.index, address: gateway, prefixLength: 24 } as const;
  kernel.host.addAddress(taken);
  const host = new FakeProcess(kernel).netlink.connect();
  await expect(ensureBridge(host, options, prepare)).rejects.toMatchObject({
    kind: "precondition",
    message: expect.stringContaining(`another interface of the host has the address ${gateway}`),
  });
  host.close();
});
