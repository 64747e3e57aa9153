/** Where the requests about images have their names, and what a rewrite changes there. Pure. */
import { messageType } from "../wire/descriptors.ts";
import { eachValue, MessageReader } from "../wire/fields.ts";
import { type CompiledMutation, compileMutation } from "../wire/mutation.ts";
import { type ImageRewrite, rewriteImage } from "./images/rewrite.ts";

/** One name of an image in a request. */
interface ImagePlace {
  readonly path: string;
  readonly image: string;
}

const numberOf = (message: string, field: string): number =>
  messageType(message).byName.get(field)?.number ?? 0;

/** In CreateContainer the image itself is an id by now (a name only from clients that are no kubelet); volumes have names. */
function containerPlaces(message: Uint8Array): ImagePlace[] {
  const at = {
    config: numberOf("CreateContainerRequest", "config"),
    image: numberOf("ContainerConfig", "image"),
    mounts: numberOf("ContainerConfig", "mounts"),
    ofMount: numberOf("Mount", "image"),
    name: numberOf("ImageSpec", "image"),
  };
  const reader = new MessageReader(message);
  const places = [{ path: "config.image.image", image: reader.text([at.config, at.image, at.name]) }];
  const config = reader.submessage([at.config]);
  let index = 0;
  if (config) {
    eachValue(config, at.mounts, (start, end) => {
      const image = new MessageReader(config.subarray(start, end)).text([at.ofMount, at.name]);
      places.push({ path: `config.mounts[${index}].image.image`, image });
      index += 1;
    });
  }
  return places;
}

function placesOf(method: string, message: Uint8Array): ImagePlace[] {
  if (method === "CreateContainer") return containerPlaces(message);
  const image = new MessageReader(message).text([1, 1]); // of all requests about images
  return [{ path: "image.image", image }];
}

export interface PlannedRewrite {
  readonly rewrite: ImageRewrite;
  readonly mutations: readonly CompiledMutation[];
}

/**
 * What these rewrites change in a request about an image. Credentials for one registry are not shown to another: they are
 * taken out of PullImage, unless the rewrite keeps them.
 */
export function planRewrites(
  {
    method,
    request,
    message,
  }: { readonly method: string; readonly request: string; readonly message: Uint8Array },
  rewrites: readonly ImageRewrite[],
): PlannedRewrite[] {
  return placesOf(method, message).flatMap(({ path, image }) => {
    const found = image === "" ? undefined : rewriteImage(image, rewrites);
    if (!found) return [];
    const { rewrite, otherRegistry } = found;
    const mutations = [compileMutation(request, { op: "set", path, value: found.image })];
    if (method === "PullImage" && otherRegistry && !rewrite.keepCredentials) {
      mutations.push(compileMutation(request, { op: "remove", path: "auth" }));
    }
    return [{ rewrite, mutations }];
  });
}
