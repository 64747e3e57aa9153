import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { createContainer, runPodSandbox } from "./cri-fields.ts";

const root = protobuf.loadSync(new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname);

/** The names of the fields on a path of numbers, as the API calls them. */
function namesOf(message: string, path: readonly number[]): string {
  let type: protobuf.Type | undefined = root.lookupType(`runtime.v1.${message}`);
  const names = path.map((number) => {
    const field = type?.fieldsArray.find(({ id }) => id === number)?.resolve();
    type = field?.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    return field?.name;
  });
  return names.join(".");
}

const rows: [string, string, readonly number[], string][] = [
  ["RunPodSandboxRequest", "podName", runPodSandbox.podName, "config.metadata.name"],
  ["RunPodSandboxRequest", "podUid", runPodSandbox.podUid, "config.metadata.uid"],
  ["RunPodSandboxRequest", "podNamespace", runPodSandbox.podNamespace, "config.metadata.namespace"],
  ["RunPodSandboxRequest", "labels", runPodSandbox.labels, "config.labels"],
  ["RunPodSandboxRequest", "annotations", runPodSandbox.annotations, "config.annotations"],
  ["CreateContainerRequest", "podSandboxId", createContainer.podSandboxId, "podSandboxId"],
  ["CreateContainerRequest", "containerName", createContainer.containerName, "config.metadata.name"],
  ["CreateContainerRequest", "image", createContainer.image, "config.image.image"],
  [
    "CreateContainerRequest",
    "userSpecifiedImage",
    createContainer.userSpecifiedImage,
    "config.image.userSpecifiedImage",
  ],
  ["CreateContainerRequest", "envs", createContainer.envs, "config.envs"],
  ["CreateContainerRequest", "labels", createContainer.labels, "config.labels"],
  ["CreateContainerRequest", "annotations", createContainer.annotations, "config.annotations"],
  ["CreateContainerRequest", "podName", createContainer.podName, "sandboxConfig.metadata.name"],
  ["CreateContainerRequest", "podUid", createContainer.podUid, "sandboxConfig.metadata.uid"],
  [
    "CreateContainerRequest",
    "podNamespace",
    createContainer.podNamespace,
    "sandboxConfig.metadata.namespace",
  ],
  ["CreateContainerRequest", "sandboxLabels", createContainer.sandboxLabels, "sandboxConfig.labels"],
  [
    "CreateContainerRequest",
    "sandboxAnnotations",
    createContainer.sandboxAnnotations,
    "sandboxConfig.annotations",
  ],
];

describe("the field numbers of the proxy", () => {
  it.each(rows)("%s: %s is where the API has it", (message, _, path, names) => {
    expect(namesOf(message, path)).toBe(names);
  });

  it("are all in this table", () => {
    const known = Object.keys(runPodSandbox).length + Object.keys(createContainer).length;
    expect(rows).toHaveLength(known);
  });
});
