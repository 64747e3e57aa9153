/** The changes of files that put the kubelet behind the proxy: as few characters as will do. Pure. */
import { expandCommand, findOrigin } from "./command-line.ts";
import { type EndpointField, formatDropIn, setField } from "./configuration.ts";
import { variablesOf } from "./environment-file.ts";
import type { NodeFacts } from "./facts.ts";
import { formatK3sFile } from "./k3s.ts";
import { argumentWords } from "./microk8s.ts";
import { dropInPath, serviceOf } from "./service-files.ts";
import { imageFlag, type KubeletSetup, type Place, refusal, runtimeFlag } from "./setup.ts";
import { findFlag, splice, splitWords } from "./words.ts";

/** One file. `before` is undefined for one that is not there. */
export interface Edit {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string;
}

const fields: Readonly<Record<string, EndpointField>> = {
  [runtimeFlag]: "containerRuntimeEndpoint",
  [imageFlag]: "imageServiceEndpoint",
};

/** One setting to make: the flag's plain name, and where. */
interface Setting {
  readonly flag: string;
  readonly place: Place;
}

/** `proxyPath` is the socket of the proxy. Files that say it already are not among the edits. */
export function planEdits(facts: NodeFacts, setup: KubeletSetup, proxyPath: string): Edit[] {
  const value = `unix://${proxyPath}`;
  const settings: Setting[] = [{ flag: runtimeFlag, place: setup.runtime.place }];
  // An image service of its own stays; one that is the runtime again goes where the runtime goes.
  if (setup.image && setup.image.path === setup.runtime.path)
    settings.push({ flag: imageFlag, place: setup.image.place });
  const texts = new Map<string, string>();
  const byPath = new Map<string, Setting[]>();
  for (const setting of settings) {
    const path = pathOf(facts, setting.place);
    byPath.set(path, [...(byPath.get(path) ?? []), setting]);
  }
  for (const [path, own] of byPath) texts.set(path, textFor(facts, { path, settings: own, value }));
  return [...texts]
    .map(([path, after]) => ({ path, before: facts.files.get(path), after }))
    .filter(({ before, after }) => before !== after);
}

function pathOf(facts: NodeFacts, place: Place): string {
  return place.kind === "unit" ? dropInPath(facts, place.unit) : place.path;
}

interface FileToMake {
  readonly path: string;
  readonly settings: readonly Setting[];
  readonly value: string;
}

function textFor(facts: NodeFacts, { path, settings, value }: FileToMake): string {
  const before = facts.files.get(path);
  const [first] = settings;
  const byFlag = Object.fromEntries(settings.map(({ flag }) => [flag, value]));
  if (first?.place.kind === "unit") return overrideUnit(facts, first.place.unit, { settings, value });
  if (first?.place.kind === "k3s-configuration") return formatK3sFile(byFlag);
  if (first?.place.kind === "configuration-directory") {
    return formatDropIn(Object.fromEntries(settings.map(({ flag }) => [fields[flag], value])));
  }
  return settings.reduce(
    (text, { flag, place }) => editText(text, place, { flag, value, path }),
    before ?? "",
  );
}

function editText(
  text: string,
  place: Place,
  { flag, value, path }: { flag: string; value: string; path: string },
): string {
  if (place.kind === "configuration") {
    const field = fields[flag];
    return field ? setField(text, path, { field, value }) : text;
  }
  if (place.kind === "environment-file") {
    const variable = variablesOf(text).get(place.name);
    const found = variable && findFlag(splitWords(variable), flag);
    if (!found) throw refusal(path, `--${flag} is not in ${place.name} of ${path} any more: run this again`);
    return splice(text, found, value);
  }
  const found = findFlag(argumentWords(text), flag);
  if (found) return splice(text, found, value);
  return `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}--${flag}=${value}\n`;
}

/** A drop-in that sets the command line anew, or the variable of the unit that the flag is in. */
function overrideUnit(
  facts: NodeFacts,
  unit: string,
  { settings, value }: { settings: readonly Setting[]; value: string },
): string {
  const service = serviceOf(facts, unit, false);
  let command = service?.commands.at(-1);
  if (!service || command === undefined)
    throw refusal(unit, `${unit} has no command line that could be changed`);
  let environment: ReadonlyMap<string, string> = service.environment;
  const changed = new Set<string>();
  for (const { place } of settings) {
    const flag = place.kind === "unit" ? place.flag : "";
    const found = findOrigin(
      expandCommand({ ...service, environment, commands: [command] }, facts.files),
      flag,
    );
    if (found?.origin.kind === "unit-variable" && found.start >= 0) {
      const { name } = found.origin;
      environment = new Map([...environment, [name, splice(environment.get(name) ?? "", found, value)]]);
      changed.add(name);
    } else if (found?.origin.kind === "command" && found.start >= 0) command = splice(command, found, value);
    // The last one holds, wherever the others come from.
    else command = `${command} --${flag}=${value}`;
  }
  const variables = [...changed].map(
    (name) => `Environment="${name}=${escapeQuotes(environment.get(name) ?? "")}"\n`,
  );
  const isSame = command === service.commands.at(-1);
  const commands = isSame ? "" : `ExecStart=\nExecStart=${command}\n`;
  return `# Written by 'trivet install kubelet'; 'trivet uninstall kubelet' takes it away.\n[Service]\n${variables.join("")}${commands}`;
}

const escapeQuotes = (text: string) => text.replace(/[\\"]/g, (character) => `\\${character}`);
