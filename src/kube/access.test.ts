/** From a pod's service account and from kubeconfigs to requests: over TLS, with tokens and certificates that change. */
import { describe, expect, it } from "vitest";
import { createFakeClock } from "../../test/fakes/clock.ts";
import { createFakeFiles } from "../../test/fakes/files.ts";
import { startFakeApiServer } from "../../test/fakes/kube/api-server.ts";
import { certificate as cert, key } from "../../test/fakes/kube/certificate.ts";
import { type ClusterAccess, inClusterAccess, isInCluster } from "./access.ts";
import { createApiClient } from "./api-client.ts";
import { kubeconfigAccess } from "./kubeconfig.ts";

async function filesWith(contents: Readonly<Record<string, string>>) {
  const files = createFakeFiles({ directories: ["/sa", "/etc/kube"] });
  for (const [path, text] of Object.entries(contents)) await files.create(path, Buffer.from(text), 0o600);
  return files;
}

async function get(access: ClusterAccess): Promise<{ status: number; body: string }> {
  const client = createApiClient({ access, clock: createFakeClock(), userAgent: "trivet/test" });
  let body = "";
  const onData = (bytes: Buffer) => {
    body += bytes.toString();
  };
  const { signal } = new AbortController();
  try {
    const { status } = await client.get({ path: "/api/v1/nodes?limit=1", signal, idleMs: 60_000, onData });
    return { status, body };
  } finally {
    client.close();
  }
}

describe("in a pod", () => {
  it("the service account's token and authority are used as they are at each request", async () => {
    const server = await startFakeApiServer({ key, cert });
    const files = await filesWith({ "/sa/ca.crt": cert, "/sa/token": "first\n" });
    const { hostname, port } = new URL(server.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const access = inClusterAccess(files, env, "/sa");
    expect(await get(access)).toMatchObject({ status: 200 });
    await files.unlink("/sa/token");
    await files.create("/sa/token", Buffer.from("second"), 0o600);
    await get(access);
    await server.stop();
    expect(server.requests.map(({ authorization }) => authorization)).toEqual([
      "Bearer first",
      "Bearer second",
    ]);
  });

  it("a server that the authority did not sign is not spoken to", async () => {
    const server = await startFakeApiServer({ key, cert });
    const access = { server: server.url, credentials: async () => ({ token: "secret" }) };
    await expect(get(access)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await get({ ...access, insecure: true })).toMatchObject({ status: 200 });
    await server.stop();
    expect(server.requests).toHaveLength(1);
  });

  it("an address of IPv6 is written in brackets, and outside of a pod there is a remedy", () => {
    const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    expect(inClusterAccess(createFakeFiles(), env).server).toBe("https://[fd00::1]:443");
    expect(isInCluster({ KUBERNETES_SERVICE_HOST: "x" })).toBe(false);
    expect(() => inClusterAccess(createFakeFiles(), {})).toThrow("give a kubeconfig instead");
  });

  it("credentials that cannot be read are a server that cannot be asked", async () => {
    const env = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: "1" };
    const access = inClusterAccess(createFakeFiles(), env, "/sa");
    await expect(get(access)).rejects.toMatchObject({ kind: "unavailable", message: /credentials/ });
  });
});

const kubeconfig = (user: string, cluster = "server: https://192.0.2.1:6443/") => `
apiVersion: v1
kind: Config
current-context: c
contexts: [{ name: c, context: { cluster: k, user: u } }]
clusters: [{ name: k, cluster: { ${cluster} } }]
users: [{ name: u, user: { ${user} } }]
`;

async function accessFrom(text: string, more: Readonly<Record<string, string>> = {}): Promise<ClusterAccess> {
  return kubeconfigAccess(await filesWith({ "/etc/kube/config": text, ...more }), "/etc/kube/config");
}

describe("a kubeconfig", () => {
  it("gives certificates as data, or as files beside it", async () => {
    const data = Buffer.from("CERT").toString("base64");
    const access = await accessFrom(
      kubeconfig(
        `client-certificate-data: ${data}, client-key: key.pem`,
        "server: https://192.0.2.1:6443, certificate-authority: /etc/kube/ca.pem, tls-server-name: kubernetes",
      ),
      { "/etc/kube/key.pem": "KEY", "/etc/kube/ca.pem": "CA" },
    );
    expect(access).toMatchObject({
      server: "https://192.0.2.1:6443",
      serverName: "kubernetes",
      insecure: false,
    });
    expect(await access.credentials()).toEqual({ ca: "CA", cert: "CERT", key: "KEY", token: undefined });
  });

  it("gives a token, and one from a file, which is read again each time", async () => {
    expect(await (await accessFrom(kubeconfig("token: abc"))).credentials()).toMatchObject({ token: "abc" });
    const access = await accessFrom(kubeconfig("tokenFile: /etc/kube/token"), { "/etc/kube/token": "xyz\n" });
    expect(await access.credentials()).toMatchObject({ token: "xyz" });
  });

  it("is believed when it turns the check of the server off", async () => {
    const access = await accessFrom(
      kubeconfig("token: t", "server: https://h, insecure-skip-tls-verify: true"),
    );
    expect(access.insecure).toBe(true);
  });

  it.each([
    [
      kubeconfig("exec: { command: aws }"),
      'the user has "exec": trivet takes a client certificate or a token',
    ],
    [kubeconfig("auth-provider: { name: gcp }"), 'the user has "auth-provider"'],
    [kubeconfig("username: a, password: b"), 'the user has "username"'],
    [kubeconfig("token: t", "server: ftp://x"), "must be an http(s) URL"],
    [kubeconfig("token: t").replace("current-context: c", ""), "no current-context"],
    [kubeconfig("token: t").replace("user: u }", "user: v }"), 'users has no "v"'],
    ["{", "/etc/kube/config"],
    ["- 1", "no current-context"],
  ])("is refused with what is wrong: %#", async (text, why) => {
    await expect(accessFrom(text)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(why) as string,
    });
  });
});
