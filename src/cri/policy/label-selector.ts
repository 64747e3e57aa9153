/** Label selectors, with the meaning that Kubernetes gives them. Pure. */

export interface LabelRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: ReadonlySet<string>;
}

/** All requirements must hold. */
export type LabelSelector = readonly LabelRequirement[];

interface SelectorDocument {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
  readonly matchExpressions?:
    | readonly {
        readonly key: string;
        readonly operator: LabelRequirement["operator"];
        readonly values?: readonly string[] | undefined;
      }[]
    | undefined;
}

/** What is wrong with the selector is added to the problems. */
export function compileLabelSelector(
  { matchLabels = {}, matchExpressions = [] }: SelectorDocument,
  problems: string[],
): LabelSelector {
  const requirements: LabelRequirement[] = Object.entries(matchLabels).map(([key, value]) => ({
    key,
    operator: "In",
    values: new Set([value]),
  }));
  for (const [index, { key, operator, values = [] }] of matchExpressions.entries()) {
    const needsValues = operator === "In" || operator === "NotIn";
    if (needsValues !== values.length > 0) {
      const what = needsValues ? "needs values" : "takes no values";
      problems.push(`matchExpressions.${index}.values: ${operator} ${what}`);
    }
    requirements.push({ key, operator, values: new Set(values) });
  }
  if (requirements.length === 0) problems.push("selects all: leave it out");
  return requirements;
}

/** Whether labels are as the requirement wants them. A label that is not there is `NotIn` everything. */
export function meets(
  labels: ReadonlyMap<string, string>,
  { key, operator, values }: LabelRequirement,
): boolean {
  const value = labels.get(key);
  switch (operator) {
    case "In":
      return value !== undefined && values.has(value);
    case "NotIn":
      return value === undefined || !values.has(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}
