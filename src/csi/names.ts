/** The names that this driver has in a cluster. They are stored in objects of users: none of them may ever change. */

/** GetPluginInfo, the CSIDriver object, and `driver` of every PersistentVolume. */
export const driverName = "local.csi.trivet.dev";

/** The label of a node, and the key in the affinity of every volume that was made on it. */
export const topologyKey = "topology.local.csi.trivet.dev/node";
