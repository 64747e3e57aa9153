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

type Rewritten = ReturnType<typeof rewriteImage>;

const numberOf = (message: string, field: string): number =>
  messageType(message).byName.get(field)?.number ?? 0;

/** In CreateContainer the image itself is an id by now (a name only from clients that are no kubelet). */
function placeOf(method: string, message: Uint8Array): ImagePlace {
  const reader = new MessageReader(message);
  if (method !== "CreateContainer") return { path: "image.image", image: reader.text([1, 1]) }; // in all of them
  const config = numberOf("CreateContainerRequest", "config");
  const image = numberOf("ContainerConfig", "image");
  return {
    path: "config.image.image",
    image: reader.text([config, image, numberOf("ImageSpec", "image")]),
  };
}

/** The image of a volume; empty for any other mount. */
function imageOfMount(mount: Uint8Array): string {
  return new MessageReader(mount).text([numberOf("Mount", "image"), numberOf("ImageSpec", "image")]);
}

/**
 * The volumes of a container have names of images too. There may be thousands: each rewrite takes one walk over the mounts,
 * rather than one for each of them.
 */
function planVolumes(
  request: string,
  message: Uint8Array,
  rewritten: (image: string) => Rewritten,
): PlannedRewrite[] {
  const config = new MessageReader(message).submessage([numberOf(request, "config")]);
  if (!config) return [];
  // By where they stand in the request as it came: what one rewrite has made is not for the next one.
  const found: Rewritten[] = [];
  eachValue(config, numberOf("ContainerConfig", "mounts"), (start, end) => {
    found.push(rewritten(imageOfMount(config.subarray(start, end))));
  });
  const used = new Set(found.flatMap((one) => one?.rewrite ?? []));
  return [...used].map((rewrite) => {
    const mutation = compileMutation(request, {
      op: "replaceWhere",
      path: "config.mounts",
      where: (_mount, index) => found[index]?.rewrite === rewrite,
      valuesOf: (index) => ({ "image.image": found[index]?.image ?? "" }),
    });
    return { rewrite, mutations: [mutation] };
  });
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
  const rewritten = (image: string) => (image === "" ? undefined : rewriteImage(image, rewrites));
  const { path, image } = placeOf(method, message);
  const volumes = method === "CreateContainer" ? planVolumes(request, message, rewritten) : [];
  const found = rewritten(image);
  if (!found) return volumes;
  const { rewrite, otherRegistry } = found;
  const mutations = [compileMutation(request, { op: "set", path, value: found.image })];
  if (method === "PullImage" && otherRegistry && !rewrite.keepCredentials) {
    mutations.push(compileMutation(request, { op: "remove", path: "auth" }));
  }
  return [{ rewrite, mutations }, ...volumes];
}
