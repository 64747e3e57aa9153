/**
 * Options that a pod gives itself through its annotations, which containerd hands on in the capability
 * `io.kubernetes.cri.pod-annotations`. None is allowed by default: whoever may write a pod could take the address or the MAC of
 * another one.
 */
import { isObject, type Problems } from "./problems.ts";

/** The annotation of each option; its name in `allowedAnnotations` is the key. */
export const annotationOptions = {
  /** Addresses, separated by commas, one of each range set at most. */
  address: "cni.trivet.dev/address",
  mac: "cni.trivet.dev/mac",
  /** Of the pod's interface: from 68 (IPv6: 1280) to 65535. */
  mtu: "cni.trivet.dev/mtu",
} as const;

/** What `allowedAnnotations` may list. */
export type AllowedOption = keyof typeof annotationOptions;

/** As the pod wrote them; the MTU is checked, the others are where they are used. */
export interface AnnotationWishes {
  readonly address: string | undefined;
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
}

interface Sources {
  readonly annotations: unknown;
  readonly allowed: readonly AllowedOption[];
}

const MIN_MTU = 68;
const MAX_MTU = 65_535;

/** An annotation of ours that is not allowed is refused with code 2: a pod that got another address would look healthy. */
export function parseAnnotations({ annotations, allowed }: Sources, problems: Problems): AnnotationWishes {
  const wishes: Partial<Record<AllowedOption, string>> = {};
  const values = isObject(annotations) ? annotations : {};
  for (const [option, key] of Object.entries(annotationOptions) as [AllowedOption, string][]) {
    const value = values[key];
    if (value === undefined) continue;
    if (!allowed.includes(option)) {
      const why = `the network does not allow it: add "${option}" to allowedAnnotations, or take it off the pod`;
      problems.unsupported(`annotation ${key}`, value, why);
    } else if (typeof value !== "string" || value.trim() === "") {
      problems.invalid(`annotation ${key}`, value, "it must not be empty");
    } else wishes[option] = value.trim();
  }
  const { address, mac, mtu } = wishes;
  const number = mtu === undefined ? undefined : Number(mtu);
  if (number !== undefined && (!Number.isInteger(number) || number < MIN_MTU || number > MAX_MTU)) {
    problems.invalid(`annotation ${annotationOptions.mtu}`, mtu, `it must be from ${MIN_MTU} to ${MAX_MTU}`);
  }
  return { address, mac, mtu: number };
}
