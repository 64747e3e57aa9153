import { describe, expect, it } from "vitest";
import { messageType } from "../../wire/descriptors.ts";
import { bytesField, entryField } from "../../wire/encode.ts";
import { celMessage } from "./cel-message.ts";
import { Meter } from "./cost.ts";
import { CelContainer, CelImage, CelPod, CelRequest, environmentFor, withItem } from "./environment.ts";
import { compileExpression, type ResultType } from "./expression.ts";

const flag = (number: number, value: number) => Buffer.from([number * 8, value]);

const securityContext = Buffer.concat([flag(2, 1), bytesField(5, flag(1, 0))]); // privileged, run_as_user 0
const config = Buffer.concat([
  bytesField(1, bytesField(1, "main")),
  bytesField(3, "sh"),
  entryField(6, "HTTP_PROXY", "http://old"),
  entryField(6, "PASSWORD", "hunter2"),
  bytesField(7, bytesField(2, "/var/run/docker.sock")),
  entryField(9, "app", "web"),
  bytesField(15, bytesField(2, securityContext)),
]);
const createContainer = Buffer.concat([bytesField(1, "sandbox-1"), bytesField(2, config)]);

const pod = {
  namespace: "web",
  name: "web-1",
  uid: "u",
  labels: new Map([["app", "web"]]),
  annotations: new Map<string, string>(),
  runtimeHandler: "",
  isStatic: false,
};

function scope(meter: Meter, redact = false) {
  return {
    request: new CelRequest("CreateContainer", "RuntimeService", ""),
    pod: new CelPod(pod),
    container: new CelContainer(() => "main"),
    image: new CelImage(() => "nginx:1.25"),
    object: celMessage("CreateContainerRequest", createContainer, { meter, redact }),
  };
}

function run(source: string, result: ResultType = "any", message?: Uint8Array) {
  const expression = compileExpression({
    source,
    environment: environmentFor("CreateContainerRequest"),
    result,
  });
  const meter = new Meter();
  const values = scope(meter);
  const object = message && celMessage("CreateContainerRequest", message, { meter, redact: false });
  return expression.evaluate(object ? { ...values, object } : values, meter);
}

const compile =
  (source: string, result: ResultType = "bool") =>
  () =>
    compileExpression({ source, environment: environmentFor("CreateContainerRequest"), result });

describe("an expression", () => {
  it.each([
    ['object.config.metadata.name == "main"', true],
    ["object.config.linux.security_context.privileged", true],
    ["object.config.linux.resources.memory_limit_in_bytes == 0", true],
    ["object.config.linux.security_context.run_as_user.value == 0", true],
    ['object.config.envs.exists(e, e.key == "HTTP_PROXY" && e.value.startsWith("http"))', true],
    ['object.config.mounts.all(m, m.host_path != "/var/run/docker.sock")', false],
    ['object.config.mounts[0].propagation == "PROPAGATION_PRIVATE"', true],
    ['"app" in object.config.labels && object.config.labels["app"] == "web"', true],
    ["object.config.labels.app", "web"],
    ["size(object.config.envs)", 2n],
    ["object.config.envs.map(e, e.key)", ["HTTP_PROXY", "PASSWORD"]],
    ['pod.namespace + "/" + pod.name', "web/web-1"],
    ["pod.isStatic", false],
    ['pod.labels["app"] in ["web", "api"]', true],
    ["image.registry", "docker.io"],
    ["image.tag", "1.25"],
    ["container.name", "main"],
    ["request.method", "CreateContainer"],
    ['image.name.matches("^docker\\\\.io/")', true],
    ["cel.bind(n, size(object.config.envs), n * n)", 4n],
  ])("%s gives %s", (source, value) => {
    expect(run(source)).toEqual(value);
  });

  // The library takes a field that reads as its default for present: protobuf's rule is ours.
  it.each([
    ["has(object.config.linux)", true],
    ["has(object.config.windows)", false],
    ["has(object.config.windows.resources)", false],
    ["has(object.config.linux.security_context.run_as_user)", true],
    ["has(object.config.linux.security_context.run_as_group)", false],
    ["has(object.config.linux.security_context.privileged)", true],
    ["has(object.config.working_dir)", false],
    ["has(object.config.envs)", true],
    ["has(object.config.devices)", false],
    ["has(object.config.labels.app)", true],
    ["has(object.config.labels.nobody)", false],
    ["has(pod.labels.app)", true],
    ["object.config.envs.all(e, has(e.value))", true],
  ])("%s is %s", (source, value) => {
    expect(run(source)).toBe(value);
  });

  it.each([
    [
      "object.config.linux.security_context.privilegd",
      /No such key: privilegd in LinuxContainerSecurityContext, did you mean privileged\?/,
    ],
    ["has(object.config.lnux)", /did you mean linux\?/],
    ["object.config.envs.exists(e, e.nme == 'x')", /KeyValue \(it has key, value\)|did you mean/],
    ["objct.config.tty", /Unknown variable: objct, did you mean object\?/],
    ["object.config.tty == 'yes'", /no such overload: bool == string/],
    ["object.config.metadata.name", /gives string, but bool is needed/],
    ["object.config.tty &&", /Unexpected token.* at line 1/],
    ["pod.namespac == 'x'", /did you mean namespace\?/],
    ["", /is empty/],
    ["'x'.matches(pod.name)", /takes its pattern as text/],
    ["'x'.matches('(?=a)')", /is no RE2 pattern/],
    ["'x'.matches('((a{100}){100}){10}')", /pattern/],
    [`'${"x".repeat(10_001)}' == ''`, /longer than/],
  ])("that cannot be used says why: %s", (source, message) => {
    expect(compile(source)).toThrow(message);
  });

  it("fails without telling what it saw", () => {
    for (const source of [
      "bool(object.config.envs[1].value)",
      "int(object.config.envs[1].value) == 1",
      'duration(object.config.envs[1].value) == duration("1s")',
      'pod.labels[object.config.envs[1].value] == "x"',
      'object.config.envs[7].key == "x"',
      'timestamp("2024-01-01T00:00:00Z").getHours(object.config.envs[1].value) == 1',
    ]) {
      expect(() => run(source, "bool"), source).toThrow(/^(?!.*hunter2)/s);
      try {
        run(source, "bool");
        expect.unreachable(source);
      } catch (error) {
        expect(String(error), source).not.toContain("hunter2");
      }
    }
  });

  it("that makes a text for others sees nothing that must not be shown", () => {
    const meter = new Meter();
    const expression = compileExpression({
      source: '"value is " + object.config.envs[1].value + object.config.labels["app"]',
      environment: environmentFor("CreateContainerRequest"),
      result: "string",
    });
    expect(expression.evaluate(scope(meter, true), meter)).toBe("value is [redacted]web");
  });

  it("knows the element of a list as item, of that list's own type", () => {
    const list = messageType("ContainerConfig").byName.get("mounts");
    if (!list) throw new Error("no such field");
    const environment = withItem(environmentFor("CreateContainerRequest"), list);
    const expression = compileExpression({ source: 'item.host_path == "/a"', environment, result: "bool" });
    const meter = new Meter();
    const item = celMessage("Mount", bytesField(2, "/a"), { meter, redact: false });
    expect(expression.evaluate({ ...scope(meter), item }, meter)).toBe(true);
    expect(() => compileExpression({ source: "item.hostpath == 'x'", environment, result: "bool" })).toThrow(
      /did you mean host_path\?/,
    );
  });
});

describe("the cost of an expression", () => {
  const many = bytesField(
    2,
    Buffer.concat(Array.from({ length: 3_000 }, (_, i) => bytesField(4, `argument ${i}`))),
  );
  const args = "object.config.args";

  it.each([
    `${args}.all(a, ${args}.all(b, ${args}.all(c, a != b || b != c || true)))`,
    `${args}.exists(a, ${args}.exists(b, ${args}.exists(c, a == b + c)))`,
    `false || ${args}.all(a, ${args}.all(b, ${args}.all(c, a + b != c))) || false`,
    `${args}.map(a, ${args}.map(b, a + b)).size() > 0`,
    `${args}.filter(a, ${args}.exists_one(b, a == b)).size() > 0`,
  ])("of loops within loops is bounded: %s", (source) => {
    const meter = new Meter();
    const expression = compileExpression({
      source,
      environment: environmentFor("CreateContainerRequest"),
      result: "bool",
    });
    const object = celMessage("CreateContainerRequest", many, { meter, redact: false });
    expect(() => expression.evaluate({ ...scope(meter), object }, meter)).toThrow(/costs more steps/);
  });

  it.each([
    ['cel.bind(a, "x".split(""), cel.bind(b, a + a, size(b))) == 2', true],
    [`${args}.all(a, a.startsWith("argument"))`, true],
  ])("of what people write is far below the bound: %s", (source, value) => {
    expect(run(source, "bool", many)).toBe(value);
  });

  const aaa = "a".repeat(100_000);
  const needle = `${"a".repeat(40_000)}b${"a".repeat(40_000)}`;
  const twoTexts = bytesField(2, Buffer.concat([bytesField(4, aaa), bytesField(4, needle)]));

  it.each([
    `${args}[0].contains(${args}[1])`,
    `${args}[0].indexOf(${args}[1]) == 0`,
    `${args}[0].lastIndexOf(${args}[1]) == 0`,
    `${args}[0].split(${args}[1]).size() == 0`,
    `${args}[0].split("").join(${args}[1]) == ""`,
    `!${args}[0].contains(${args}[1])`,
  ])("of a search for a long text in a longer one is bounded: %s", (source) => {
    expect(() => run(source, "bool", twoTexts)).toThrow(/costs more steps/);
  });

  it.each([
    [`${args}[0].contains("needle")`, false],
    [`${args}[0].indexOf("aa") == 0`, true],
    [`size(${args}[0].split("b")) == 1`, true],
    [`["a", "b"].join(", ") == "a, b"`, true],
    [`${args}.all(a, a.contains("a"))`, true],
  ])("of an ordinary search is small: %s", (source, value) => {
    expect(run(source, "bool", twoTexts)).toBe(value);
  });

  it("of doubling a text again and again is bounded", () => {
    let source = "size(v30) > 0";
    for (let i = 30; i > 0; i -= 1) source = `cel.bind(v${i}, v${i - 1} + v${i - 1}, ${source})`;
    expect(() => run(`cel.bind(v0, "0123456789", ${source})`, "bool")).toThrow(/costs more steps/);
  });

  it("of a list or a text that is too long is refused", () => {
    const list = bytesField(2, Buffer.concat(Array.from({ length: 10_001 }, () => bytesField(4, ""))));
    expect(() => run(`size(${args}) > 0`, "bool", list)).toThrow(/args has more than 10000 elements/);
    const text = bytesField(2, bytesField(5, "x".repeat(300_000)));
    expect(() => run('object.config.working_dir == "x"', "bool", text)).toThrow(/working_dir is longer than/);
    const search = bytesField(2, bytesField(5, "x".repeat(100_000)));
    expect(() => run('object.config.working_dir.matches("a+b")', "bool", search)).toThrow(/is not searched/);
  });

  it("starts anew for each policy", () => {
    const meter = new Meter();
    expect(() => meter.charge(1_000_000)).toThrow();
    expect(() => meter.settle()).toThrow();
    meter.reset();
    expect(() => meter.settle()).not.toThrow();
  });
});
