/** What must be true of a simulated connection that has come to rest. */
import { message } from "./raw-frames.ts";
import type { SimCall } from "./sim-client.ts";
import { edited, type Simulated } from "./simulate.ts";

/** Everything that is not as it must be, in words; and how the calls ended. */
export function checkSimulation(simulated: Simulated): { wrong: string[]; ways: Map<string, number> } {
  const { client, server, wire, budget, stalled } = simulated;
  const wrong: string[] = [];
  const ways = new Map<string, number>();
  const must = (holds: boolean, what: string) => {
    if (!holds) wrong.push(what);
  };
  must(!stalled, "it stalled");
  must(wire.machine.failure === undefined, `it failed: ${wire.machine.failure?.message}`);
  wire.clientHop.atRest();
  wire.upstreamHop.atRest();
  wrong.push(...wire.problems(), ...client.problems, ...wire.hookErrors.map(String));
  must(wire.machine.streams === 0, `${wire.machine.streams} streams left`);
  must(budget.bytes === 0, `${budget.bytes} bytes held at rest`);
  // No credit is lost: what the client may send is at least what upstream would take.
  must(client.window >= server.window, `a window of ${client.window} where upstream's is ${server.window}`);
  for (const call of client.calls) {
    const { way, wrong: more } = checkCall(simulated, call);
    ways.set(way, (ways.get(way) ?? 0) + 1);
    wrong.push(...more.map((what) => `call ${call.id}: ${what}`));
  }
  return { wrong, ways };
}

function checkCall({ server, decider, kinds }: Simulated, { id, outcome, body, answer }: SimCall) {
  const wrong: string[] = [];
  const must = (holds: boolean, what: string) => {
    if (!holds) wrong.push(what);
  };
  const kind = kinds[(id - 1) / 2] ?? "pass";
  const refused = /deny|closed|never/.test(kind);
  must(decider.ends.get(id) === 1, `its end was told ${decider.ends.get(id)} times`);
  if (refused) must(server.body(id).length === 0, "its message came to upstream undecided");
  if (outcome !== 0) {
    if (outcome === 7 || outcome === 12) must(!decider.answers.has(id), "an answer that is none was shown");
    return { way: outcome === 7 ? "denied" : outcome === "cancelled" ? "cancelled" : "early", wrong };
  }
  must(!refused, "it was answered");
  must(server.body(id).equals(message(edited(kind, body))), "another message than was decided");
  must(Buffer.concat(answer).equals(server.reply(id)), "another answer than was sent");
  must(decider.answers.get(id)?.equals(server.reply(id).subarray(5)) === true, "another answer was shown");
  return { way: kind.startsWith("later") ? "late" : "answered", wrong };
}
