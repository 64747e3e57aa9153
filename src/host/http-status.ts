/** One HTTP GET to a health check of this host: the status is the answer. */
import { get } from "node:http";
import { get as getTls } from "node:https";
import { fromNodeError } from "./errno.ts";

/** As an effect. Rejects where nobody answers in time. */
export type GetStatus = (url: string) => Promise<number>;

const TIMEOUT_MS = 5_000;

/** Certificates are not looked at: a kubelet signs its own, and only the status counts. */
export const getStatus: GetStatus = (url) =>
  new Promise((resolve, reject) => {
    const fail = (error: unknown) => reject(fromNodeError(error, "http.get", url));
    const options = { timeout: TIMEOUT_MS, agent: false as const, rejectUnauthorized: false };
    const request = (url.startsWith("https:") ? getTls : get)(url, options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.once("timeout", () =>
      request.destroy(Object.assign(new Error("time is up"), { code: "ETIMEDOUT" })),
    );
    request.once("error", fail);
  });
