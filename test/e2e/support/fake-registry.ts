/** A registry of images on a port of loopback, over HTTP, with what is in one OCI archive. Takes down who asked, and with what. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface FakeRegistry {
  /** `127.0.0.1:PORT`: what runtimes take for a registry that speaks plain HTTP. */
  readonly host: string;
  /** The paths that were asked for, in order. */
  readonly asked: readonly string[];
  /** The `Authorization` headers that came. */
  readonly credentials: readonly string[];
  /** From now on, every request without credentials is answered 401. */
  locked: boolean;
  close(): Promise<void>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
}

async function readBlob<T>(directory: string, digest: string): Promise<T> {
  return JSON.parse(await readFile(join(directory, "blobs", digest.replace(":", "/")), "utf8")) as T;
}

async function writeBlob(directory: string, content: object): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hash = createHash("sha256").update(bytes).digest("hex");
  await writeFile(join(directory, "blobs/sha256", hash), bytes);
  return { digest: `sha256:${hash}`, size: bytes.length };
}

/** The same image by another id: runtimes remove an image by all of its names, and the one of the archive is somebody else's. */
async function withOwnId({ mediaType, digest }: Descriptor, directory: string): Promise<Descriptor> {
  const manifest = await readBlob<{ config: Descriptor }>(directory, digest);
  const config = await readBlob<object>(directory, manifest.config.digest);
  const changed = {
    ...manifest.config,
    ...(await writeBlob(directory, { ...config, author: "fake registry" })),
  };
  return { mediaType, ...(await writeBlob(directory, { ...manifest, config: changed })) };
}

/** Serves the first image of `archive` as every `repositories` with any tag. `directory` takes its content. */
export async function startRegistry(
  archive: string,
  { directory, repositories }: { readonly directory: string; readonly repositories: readonly string[] },
): Promise<FakeRegistry> {
  await mkdir(directory, { recursive: true });
  await run("tar", ["-xf", archive, "-C", directory]);
  const index = JSON.parse(await readFile(join(directory, "index.json"), "utf8")) as {
    manifests: Descriptor[];
  };
  const [first] = index.manifests;
  if (!first) throw new Error("the archive has no image");
  const image = await withOwnId(first, directory);
  const asked: string[] = [];
  const credentials: string[] = [];
  const registry = { locked: false };
  const blob = (digest: string) => join(directory, "blobs", digest.replace(":", "/"));

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? "";
    asked.push(`${request.method} ${path}`);
    const { authorization } = request.headers;
    if (authorization !== undefined) credentials.push(authorization);
    else if (registry.locked) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="fake"' }).end();
      return;
    }
    const [, repository = "", kind = "", reference = ""] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)/.exec(path) ?? [];
    if (!repositories.includes(repository)) {
      response.writeHead(404).end();
      return;
    }
    const digest = reference.includes(":") ? reference : image.digest;
    const size = await stat(blob(digest)).then(
      (found) => found.size,
      () => undefined,
    );
    if (size === undefined) {
      response.writeHead(404).end();
      return;
    }
    const type = kind === "manifests" ? image.mediaType : "application/octet-stream";
    response.writeHead(200, {
      ...{ "content-type": type, "content-length": String(size), "docker-content-digest": digest },
    });
    if (request.method === "HEAD") response.end();
    else createReadStream(blob(digest)).pipe(response);
  };

  const server = createServer(
    (request, response) => void serve(request, response).catch(() => response.destroy()),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(registry, {
    host: `127.0.0.1:${port}`,
    asked,
    credentials,
    close: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  });
}
