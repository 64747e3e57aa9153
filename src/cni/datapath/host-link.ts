/** The host's end of a pod's link: everything of a pod hangs on the pair, and deleting this end undoes it all. */
import { isKind } from "../../errors.ts";
import type { Netlink } from "../../host/netlink.ts";
import type { Attachment } from "../state/attachments.ts";

/**
 * Removes the host end, and with it the pod's end, the addresses, the routes and the neighbour entries. A link that has our
 * name but not our MAC is not ours and stays. Nothing happens if there is none.
 */
export async function deleteHostLink(
  netlink: Netlink,
  { hostLink, hostMac }: Pick<Attachment, "hostLink" | "hostMac">,
): Promise<void> {
  const host = netlink.connect();
  try {
    const link = await host.link(hostLink);
    if (link?.kind !== "veth" || link.mac !== hostMac) return;
    await host.apply([{ op: "link.delete", name: hostLink }]);
  } catch (error) {
    // The kernel removes the pair by itself when the pod's namespace ends, possibly just now.
    if (!isKind(error, "not-found")) throw error;
  } finally {
    host.close();
  }
}
