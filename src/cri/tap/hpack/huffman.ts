/**
 * The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B), decoding only: what we send is never Huffman coded.
 * The code is canonical, so the code lengths alone define it. Decoding walks a state machine four bits at a
 * time: the shortest code has five bits, so a step yields at most one octet.
 */

/** Code lengths in bits, by octet; the last one is EOS (256). Runs are written as [length, count]. */
const lengthRuns: readonly (readonly [bits: number, count: number])[] = [
  // control characters
  [13, 1],
  [23, 1],
  [28, 7],
  [24, 1],
  [30, 1],
  [28, 2],
  [30, 1],
  [28, 8],
  [30, 1],
  [28, 9],
  // space to slash
  [6, 1],
  [10, 2],
  [12, 1],
  [13, 1],
  [6, 1],
  [8, 1],
  [11, 1],
  [10, 2],
  [8, 1],
  [11, 1],
  [8, 1],
  [6, 3],
  // digits, colon to @
  [5, 3],
  [6, 7],
  [7, 1],
  [8, 1],
  [15, 1],
  [6, 1],
  [12, 1],
  [10, 1],
  [13, 1],
  // A to Z, [ to `
  [6, 1],
  [7, 22],
  [8, 1],
  [7, 1],
  [8, 1],
  [13, 1],
  [19, 1],
  [13, 1],
  [14, 1],
  [6, 1],
  [15, 1],
  // a to z, { to DEL
  [5, 1],
  [6, 1],
  [5, 1],
  [6, 1],
  [5, 1],
  [6, 3],
  [5, 1],
  [7, 2],
  [6, 3],
  [5, 1],
  [6, 1],
  [7, 1],
  [6, 1],
  [5, 2],
  [6, 1],
  [7, 5],
  [15, 1],
  [11, 1],
  [14, 1],
  [13, 1],
  [28, 1],
  // 128 to 159
  [20, 1],
  [22, 1],
  [20, 2],
  [22, 3],
  [23, 1],
  [22, 1],
  [23, 5],
  [24, 1],
  [23, 1],
  [24, 2],
  [22, 1],
  [23, 1],
  [24, 1],
  [23, 4],
  [21, 1],
  [22, 1],
  [23, 1],
  [22, 1],
  [23, 2],
  [24, 1],
  // 160 to 191
  [22, 1],
  [21, 1],
  [20, 1],
  [22, 2],
  [23, 2],
  [21, 1],
  [23, 1],
  [22, 2],
  [24, 1],
  [21, 1],
  [22, 1],
  [23, 2],
  [21, 2],
  [22, 1],
  [21, 1],
  [23, 1],
  [22, 1],
  [23, 2],
  [20, 1],
  [22, 3],
  [23, 1],
  [22, 2],
  [23, 1],
  // 192 to 223
  [26, 2],
  [20, 1],
  [19, 1],
  [22, 1],
  [23, 1],
  [22, 1],
  [25, 1],
  [26, 3],
  [27, 2],
  [26, 1],
  [24, 1],
  [25, 1],
  [19, 1],
  [21, 1],
  [26, 1],
  [27, 2],
  [26, 1],
  [27, 1],
  [24, 1],
  [21, 2],
  [26, 2],
  [28, 1],
  [27, 3],
  // 224 to 255, EOS
  [20, 1],
  [24, 1],
  [20, 1],
  [21, 1],
  [22, 1],
  [21, 2],
  [23, 1],
  [22, 2],
  [25, 2],
  [24, 2],
  [26, 1],
  [23, 1],
  [26, 1],
  [27, 1],
  [26, 2],
  [27, 5],
  [28, 1],
  [27, 5],
  [26, 1],
  [30, 1],
];

const EOS = 256;
const EMITS = 0x100;
const FAILS = 0x200;
/** Ending in the state reached is valid: the rest is at most seven bits, all ones. */
const MAY_END = 0x400;
const STATE_SHIFT = 11;

/** Code lengths in bits of the octets 0 to 255 and of EOS. */
export const codeLengths: readonly number[] = lengthRuns.flatMap(([bits, count]) =>
  Array.from({ length: count }, () => bits),
);

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
