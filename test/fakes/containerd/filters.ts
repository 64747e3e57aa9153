/** The filters of the list methods: every condition that is set must hold, and an id may be a prefix. */

interface Labelled {
  readonly labels: Readonly<Record<string, string>>;
}

/** Whether `labels` has every pair of `selector`. */
export function matchesLabels(
  { labels }: Labelled,
  selector: Readonly<Record<string, string>> | undefined,
): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels[key] === value);
}

export interface SandboxFilter {
  readonly id: string;
  readonly state: { readonly state: string } | null;
  readonly label_selector: Readonly<Record<string, string>>;
}

export interface ContainerFilter extends SandboxFilter {
  readonly pod_sandbox_id: string;
}

/** Whether `value` passes a condition that an empty string leaves open. */
export function matchesId(value: string, wanted: string | undefined): boolean {
  return !wanted || value.startsWith(wanted);
}

export function matchesState(state: string, wanted: { readonly state: string } | null | undefined): boolean {
  return !wanted || wanted.state === state;
}
