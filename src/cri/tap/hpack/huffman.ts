/**
 * The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B), decoding only: what we send is never Huffman coded.
 * The code is canonical, so the code lengths alone define it. Decoding walks a state machine four bits at a
 * time: the shortest code has five bits, so a step yields at most one octet.
 */

/** Code lengths in bits, octet by octet, the last one being EOS; `28x7` stands for seven times 28. */
const lengthRuns = [
  "13 23 28x7 24 30 28x2 30 28x8 30 28x9", // control characters
  "6 10x2 12 13 6 8 11 10x2 8 11 8 6x3", // space to slash
  "5x3 6x7 7 8 15 6 12 10 13", // digits, colon to @
  "6 7x22 8 7 8 13 19 13 14 6 15", // A to Z, [ to `
  "5 6 5 6 5 6x3 5 7x2 6x3 5 6 7 6 5x2 6 7x5 15 11 14 13 28", // a to z, { to DEL
  "20 22 20x2 22x3 23 22 23x5 24 23 24x2 22 23 24 23x4 21 22 23 22 23x2 24", // 128 to 159
  "22 21 20 22x2 23x2 21 23 22x2 24 21 22 23x2 21x2 22 21 23 22 23x2 20 22x3 23 22x2 23", // 160 to 191
  "26x2 20 19 22 23 22 25 26x3 27x2 26 24 25 19 21 26 27x2 26 27 24 21x2 26x2 28 27x3", // 192 to 223
  "20 24 20 21 22 21x2 23 22x2 25x2 24x2 26 23 26 27 26x2 27x5 28 27x5 26 30", // 224 to 255, EOS
];

const EOS = 256;
const EMITS = 0x100;
const FAILS = 0x200;
/** Ending in the state reached is valid: the rest is at most seven bits, all ones. */
const MAY_END = 0x400;
const STATE_SHIFT = 11;

/** Code lengths in bits of the octets 0 to 255 and of EOS. */
export const codeLengths: readonly number[] = lengthRuns
  .flatMap((line) => line.split(" "))
  .flatMap((run) => {
    const [bits, count] = run.split("x").map(Number);
    return Array.from({ length: count ?? 1 }, () => bits ?? 0);
  });

/** A tree in two arrays: the child of `node` on bit b is `child[node * 2 + b]`; leaves are -1 - symbol. */
function buildTree(): Int32Array {
  const child = new Int32Array(EOS * 2);
  let nodes = 1;
  let code = 0;
  let length = 0;
  const symbols = codeLengths.map((bits, symbol) => ({ bits, symbol }));
  symbols.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  for (const { bits, symbol } of symbols) {
    code <<= bits - length;
    length = bits;
    let node = 0;
    for (let at = bits - 1; at > 0; at--) {
      const slot = node * 2 + ((code >>> at) & 1);
      if (child[slot] === 0) child[slot] = nodes++;
      node = child[slot] ?? 0;
    }
    child[node * 2 + (code & 1)] = -1 - symbol;
    code++;
  }
  return child;
}

/** `transitions[state * 16 + nibble]` = next state << 11 | flags | octet. */
function buildTransitions(): Uint32Array {
  const child = buildTree();
  const transitions = new Uint32Array(EOS * 16);
  const mayEnd = padding(child);
  for (let state = 0; state < EOS; state++) {
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = state;
      let flags = 0;
      for (let at = 3; at >= 0; at--) {
        const next = child[node * 2 + ((nibble >>> at) & 1)] ?? 0;
        if (next >= 0) {
          node = next;
          continue;
        }
        const symbol = -1 - next;
        flags |= symbol === EOS ? FAILS : EMITS | symbol;
        node = 0;
      }
      transitions[state * 16 + nibble] = (node << STATE_SHIFT) | flags | (mayEnd.has(node) ? MAY_END : 0);
    }
  }
  return transitions;
}

/** The nodes on the way of all ones from the root, at most seven bits deep. */
function padding(child: Int32Array): Set<number> {
  const nodes = new Set<number>();
  let node = 0;
  for (let depth = 0; depth <= 7; depth++) {
    nodes.add(node);
    node = child[node * 2 + 1] ?? 0;
  }
  return nodes;
}

const transitions = buildTransitions();

/** The most octets that `bytes` Huffman coded octets can stand for. */
export function maxDecodedBytes(bytes: number): number {
  return Math.ceil((bytes * 8) / 5);
}

/**
 * Decodes `from[start, end)` into `into`, which must hold `maxDecodedBytes`. Returns the number of octets, or -1 when
 * the input holds EOS or does not end in at most seven one bits.
 */
export function decodeHuffman(
  from: Uint8Array,
  range: { start: number; end: number },
  into: Uint8Array,
): number {
  const { start, end } = range;
  let state = 0;
  let written = 0;
  let step = MAY_END;
  for (let at = start; at < end; at++) {
    const octet = from[at] as number;
    step = transitions[(state << 4) | (octet >>> 4)] as number;
    if ((step & (EMITS | FAILS)) !== 0) {
      if ((step & FAILS) !== 0) return -1;
      into[written++] = step;
    }
    state = step >>> STATE_SHIFT;
    step = transitions[(state << 4) | (octet & 15)] as number;
    if ((step & (EMITS | FAILS)) !== 0) {
      if ((step & FAILS) !== 0) return -1;
      into[written++] = step;
    }
    state = step >>> STATE_SHIFT;
  }
  return (step & MAY_END) === 0 ? -1 : written;
}
