import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { createPodIndex } from "../pods/pod-index.ts";
import { allMethods } from "../wire/descriptors.ts";
import { bytesField } from "../wire/encode.ts";
import { subjectFields, subjectOf } from "./subject.ts";

const root = protobuf.loadSync(new URL("../../../proto/runtime/v1/api.proto", import.meta.url).pathname);
const type = (name: string) => root.lookupType(`runtime.v1.${name}`);

/** The names of the fields on a path of numbers. */
function namesOf(message: string, path: readonly number[]): string {
  let at: protobuf.Type | undefined = type(message);
  const names = path.map((number) => {
    const field = at?.fieldsArray.find(({ id }) => id === number)?.resolve();
    at = field?.resolvedType instanceof protobuf.Type ? field.resolvedType : undefined;
    return field?.name;
  });
  return names.join(".");
}

describe("the subject of a request", () => {
  const { idFields, imageField, userImageField, pulledFor } = subjectFields;

  it.each(Object.entries(idFields))("of %s is where the API has its id", (method, { kind, number }) => {
    const name = kind === "sandbox" ? "podSandboxId" : "containerId";
    expect(type(`${method}Request`).fields[name]?.id).toBe(number);
  });

  it("is looked for in every request that carries an id", () => {
    const withId = allMethods().filter(({ request }) =>
      type(request).fieldsArray.some(({ name, id }) => id === 1 && /^(podSandboxId|containerId)$/.test(name)),
    );
    const others = ["CreateContainer", "ContainerStats", "PodSandboxStats"];
    expect(withId.map(({ name }) => name).sort()).toEqual([...Object.keys(idFields), ...others].sort());
  });

  it.each(["PullImage", "RemoveImage", "ImageStatus"])(
    "of %s is an image, where the API has it",
    (method) => {
      expect(namesOf(`${method}Request`, imageField)).toBe("image.image");
      expect(namesOf(`${method}Request`, userImageField)).toBe("image.userSpecifiedImage");
    },
  );

  it("of a pull is a pod as well", () => {
    expect(namesOf("PullImageRequest", pulledFor.pod)).toBe("sandboxConfig.metadata.name");
    expect(namesOf("PullImageRequest", pulledFor.podUid)).toBe("sandboxConfig.metadata.uid");
    expect(namesOf("PullImageRequest", pulledFor.namespace)).toBe("sandboxConfig.metadata.namespace");
  });

  const pods = createPodIndex();
  const config = { metadata: { name: "web", uid: "u1", namespace: "shop" } };
  const encode = (name: string, value: object) => type(name).encode(value).finish();
  pods.learn(
    "RunPodSandbox",
    encode("RunPodSandboxRequest", { config }),
    encode("RunPodSandboxResponse", { podSandboxId: "s1" }),
  );
  pods.learn(
    "CreateContainer",
    encode("CreateContainerRequest", {
      podSandboxId: "s1",
      config: { metadata: { name: "main" }, image: { userSpecifiedImage: "web:1" } },
    }),
    encode("CreateContainerResponse", { containerId: "c1" }),
  );
  const pod = { namespace: "shop", pod: "web", podUid: "u1", sandboxId: "s1" };

  it("is the pod and the container behind its id, where they are known", () => {
    expect(subjectOf("StopPodSandbox", bytesField(1, "s1"), pods)).toEqual(pod);
    expect(subjectOf("Exec", bytesField(1, "c1"), pods)).toEqual({
      ...{ ...pod, container: "main", image: "web:1", containerId: "c1" },
    });
  });

  it("is the id alone where nobody has seen it, or nobody can be asked", () => {
    expect(subjectOf("Exec", bytesField(1, "c9"), pods)).toEqual({ containerId: "c9" });
    expect(subjectOf("PortForward", bytesField(1, "s1"))).toEqual({ sandboxId: "s1" });
  });

  it("of a pull for no pod is its image alone", () => {
    const request = encode("PullImageRequest", {
      image: { image: "web:1" },
      auth: { password: "hunter2", username: "me" },
    });
    expect(subjectOf("PullImage", request, pods)).toEqual({ image: "web:1" });
  });
});
