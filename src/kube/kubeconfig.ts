/**
 * A kubeconfig as access to its current context: certificate authority, client certificate or token, as data or as files.
 * What would start a program or another login is refused by name, since a node has nobody to answer it.
 */
import { dirname, isAbsolute, join } from "node:path";
import { TrivetError } from "../errors.ts";
import type { Files } from "../host/files.ts";
import type { ClusterAccess, Credentials } from "./access.ts";

type Mapping = Readonly<Record<string, unknown>>;

/** Throws kind `invalid`, naming the field, and what reading the file throws. */
export async function kubeconfigAccess(files: Pick<Files, "read">, path: string): Promise<ClusterAccess> {
  // Loaded only here: in a pod nothing of YAML is needed.
  const { parse } = await import("yaml");
  const text = (await files.read(path)).toString("utf8");
  let config: unknown;
  try {
    config = parse(text);
  } catch (cause) {
    throw invalid(path, cause instanceof Error ? cause.message : String(cause));
  }
  const file = { path, files };
  const context = named(file, config, {
    list: "contexts",
    name: textOf(config, "current-context"),
    key: "context",
  });
  const cluster = named(file, config, { list: "clusters", name: textOf(context, "cluster"), key: "cluster" });
  const user = named(file, config, { list: "users", name: textOf(context, "user"), key: "user" });
  refuse(path, user);
  const server = textOf(cluster, "server")?.replace(/\/+$/, "");
  if (!server || !/^https?:\/\/[^/]/.test(server))
    throw invalid(path, "the cluster's server must be an http(s) URL");
  return {
    server,
    serverName: textOf(cluster, "tls-server-name"),
    insecure: cluster["insecure-skip-tls-verify"] === true,
    credentials: () => readCredentials(file, cluster, user),
  };
}

interface ConfigFile {
  readonly path: string;
  readonly files: Pick<Files, "read">;
}

const isMapping = (value: unknown): value is Mapping =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function textOf(value: unknown, key: string): string | undefined {
  const field = isMapping(value) ? value[key] : undefined;
  return typeof field === "string" && field !== "" ? field : undefined;
}

function invalid(path: string, why: string): TrivetError {
  return new TrivetError({
    kind: "invalid",
    op: "kube.kubeconfig",
    subject: path,
    message: `${path}: ${why}`,
  });
}

interface Reference {
  readonly list: "contexts" | "clusters" | "users";
  readonly name: string | undefined;
  readonly key: "context" | "cluster" | "user";
}

function named({ path }: ConfigFile, config: unknown, { list, name, key }: Reference): Mapping {
  const entries = isMapping(config) ? config[list] : undefined;
  if (name === undefined) {
    throw invalid(
      path,
      key === "context" ? "it has no current-context" : `its current context names no ${key}`,
    );
  }
  const found = Array.isArray(entries) ? entries.find((entry) => textOf(entry, "name") === name) : undefined;
  const value = isMapping(found) ? found[key] : undefined;
  if (isMapping(value)) return value;
  throw invalid(path, `${list} has no "${name}", which is referred to`);
}

/** Ways to log in that need a program, a person or a memory. */
const refused = ["exec", "auth-provider", "username", "password", "as", "as-groups"] as const;

function refuse(path: string, user: Mapping): void {
  const found = refused.find((key) => user[key] !== undefined);
  if (found === undefined) return;
  throw invalid(
    path,
    `the user has "${found}": trivet takes a client certificate or a token; make a service account for it`,
  );
}

async function readCredentials(file: ConfigFile, cluster: Mapping, user: Mapping): Promise<Credentials> {
  const { path, files } = file;
  const read = async (from: Mapping, key: string): Promise<string | undefined> => {
    const data = textOf(from, `${key}-data`);
    if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
    const name = textOf(from, key);
    if (name === undefined) return undefined;
    return (await files.read(isAbsolute(name) ? name : join(dirname(path), name))).toString("utf8");
  };
  const tokenFile = textOf(user, "tokenFile");
  const token =
    tokenFile === undefined ? textOf(user, "token") : (await files.read(tokenFile)).toString("utf8").trim();
  const [ca, cert, key] = await Promise.all([
    read(cluster, "certificate-authority"),
    read(user, "client-certificate"),
    read(user, "client-key"),
  ]);
  return { ca, cert, key, token };
}
