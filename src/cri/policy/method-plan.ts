/** The expressions and mutations of a policy for one method, with every problem by the path of its field. Pure. */
import type { Environment } from "@marcbachmann/cel-js";
import { environmentFor } from "./cel/environment.ts";
import { compileExpression, type Expression, type ResultType } from "./cel/expression.ts";
import { type MutationPlan, planMutation } from "./mutation-plan.ts";
import type { MethodPlan, NamedExpression, Validation, VariablesClass } from "./policy.ts";
import type { PolicySpec } from "./schema.ts";

export interface PlannedMethod {
  readonly name: string;
  readonly service: string;
  readonly request: string | undefined;
}

type Note = (problem: string) => void;

/** What was wrong with one field: the messages of the parts below say it in one line, or begin with a path of their own. */
function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

class Planner {
  readonly #method: PlannedMethod;
  readonly #note: Note;
  environment: Environment;

  constructor(method: PlannedMethod, note: Note) {
    this.#method = method;
    this.#note = note;
    this.environment = environmentFor(method.request);
  }

  /** Undefined for an expression that cannot be used, which is noted. */
  expression(path: string, source: string, result: ResultType): Expression | undefined {
    try {
      return compileExpression({ source, environment: this.environment, result });
    } catch (error) {
      this.problem(path, textOf(error));
      return undefined;
    }
  }

  problem(path: string, text: string): void {
    const { name, request } = this.#method;
    const missing = request === undefined && /Unknown variable: object\b/.test(text);
    const why = missing ? "; what its request holds is not known here: ask for pod, image or request" : "";
    this.#note(`spec.${path}: for ${name}: ${text}${why}`);
  }

  named(field: string, list: PolicySpec["matchConditions"]): NamedExpression[] {
    const names = new Set<string>();
    return (list ?? []).flatMap(({ name, expression: source }, index) => {
      if (names.has(name)) this.problem(`${field}.${index}.name`, `${name} stands twice`);
      names.add(name);
      const expression = this.expression(`${field}.${index}.expression`, source, "bool");
      return expression ? [{ name, expression }] : [];
    });
  }

  /** Variables are the fields of `variables`; each sees those before it. */
  variables(list: PolicySpec["variables"]): Pick<MethodPlan, "variables" | "variablesClass"> {
    if (!list) return { variables: [], variablesClass: undefined };
    const base = this.environment;
    const types = new Map<string, string>();
    const variables: NamedExpression[] = [];
    // One for all of them: a value is told by its class, also by the expressions of variables that see only those before.
    const made = variablesClass(new Set(list.map(({ name }) => name)));
    for (const [index, { name, expression: source }] of list.entries()) {
      const path = `variables.${index}`;
      if (!/^[a-zA-Z_]\w*$/.test(name)) this.problem(`${path}.name`, `${name} is no name of a variable`);
      if (types.has(name)) this.problem(`${path}.name`, `${name} stands twice`);
      const expression = this.expression(`${path}.expression`, source, "any");
      if (!expression) continue;
      variables.push({ name, expression });
      types.set(name, expression.type);
      this.environment = base
        .clone()
        .registerType("Variables", { ctor: made, fields: Object.fromEntries(types) })
        .registerVariable("variables", "Variables");
    }
    return { variables, variablesClass: made };
  }

  validations(list: PolicySpec["validations"]): Validation[] {
    return (list ?? []).flatMap(({ expression: source, message, messageExpression }, index) => {
      const path = `validations.${index}`;
      const expression = this.expression(`${path}.expression`, source, "bool");
      const text =
        messageExpression === undefined
          ? undefined
          : this.expression(`${path}.messageExpression`, messageExpression, "string");
      if (!expression) return [];
      return [{ expression, message: message ?? `failed expression: ${source}`, messageExpression: text }];
    });
  }

  mutations(list: PolicySpec["mutations"]): MutationPlan[] {
    const { name, request } = this.#method;
    if (list && request === undefined) {
      this.problem("mutations", "its request is not known here, so it cannot be changed");
      return [];
    }
    return (list ?? []).flatMap((document, index) => {
      try {
        return [
          planMutation(document, { method: name, request: request ?? "", environment: this.environment }),
        ];
      } catch (error) {
        this.problem(`mutations.${index}`, textOf(error));
        return [];
      }
    });
  }
}

/** A class with these fields, each read when it is asked for. It has nothing else that an expression could name. */
function variablesClass(names: Iterable<string>): VariablesClass {
  class Values {
    readonly #read: (name: string) => unknown;

    constructor(read: (name: string) => unknown) {
      this.#read = read;
    }

    static getter(name: string): PropertyDescriptor & ThisType<Values> {
      return {
        get() {
          return this.#read(name);
        },
      };
    }
  }
  for (const name of names) Object.defineProperty(Values.prototype, name, Values.getter(name));
  return Values;
}

export function planMethod(spec: PolicySpec, method: PlannedMethod, note: Note): MethodPlan {
  const planner = new Planner(method, note);
  const variables = planner.variables(spec.variables);
  return {
    method: method.name,
    service: method.service,
    request: method.request,
    ...variables,
    conditions: planner.named("matchConditions", spec.matchConditions),
    mutations: planner.mutations(spec.mutations),
    validations: planner.validations(spec.validations),
  };
}
