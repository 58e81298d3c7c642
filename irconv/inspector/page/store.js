// The document: stages unpacked when they are first looked at, and provenance over all of them.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const DOC = read("document");
const LAST = DOC.stages.length - 1;
// one network of the zoo is trained; of a file nothing is known
const RANDOM_WEIGHTS = /^irconv \w+ zoo:(?!digits\b)| --random-weights \d+( |$)/.test(DOC.command);
const unpacked = [];

function stage(index) {
  if (!unpacked[index]) {
    const raw = DOC.stages[index];
    const own = ([place, line]) => ({ ...DOC.pool.nodes[place], line });
    const nodes = raw.nodes.map(own);
    const parameters = raw.parameters.map(own);
    const found = {
      ...raw, index, nodes, parameters,
      lines: raw.lines.map((place) => DOC.pool.lines[place]),
      byId: new Map(nodes.map((n) => [n.id, n])),
      things: new Map([...parameters, ...nodes].map((n) => [n.id, n])),
      byName: new Map([...parameters, ...nodes].map((n) => [n.name, n])),
      byLine: new Map([...parameters, ...nodes].flatMap((n) => Array.from({ length: n.line_count || 1 }, (_, k) => [n.line + k, n]))),
      layout: DOC.pool.layouts[raw.layout],
      rewrites: raw.rewrites.map((r) => ({
        ...r,
        before_lines: r.before_lines.map((place) => DOC.pool.lines[place]),
        after_lines: r.after_lines.map((place) => DOC.pool.lines[place]),
      })),
    };
    raw.inputs.forEach((input, k) => {
      found.things.set(-1 - k, { id: -1 - k, name: input.name, op: "input", type: input.type, inputs: [], line: 0, attributes: "", input: true });
    });
    found.users = new Map();
    for (const node of nodes) for (const id of [...node.inputs, ...(node.parameters || [])]) {
      if (!found.users.has(id)) found.users.set(id, new Set());
      found.users.get(id).add(node.id);
    }
    unpacked[index] = found;
  }
  return unpacked[index];
}

const title = (index) => DOC.stages[index].title;
const passName = (text) => text.split("{")[0];
const passOptions = (text) => (text.includes("{") ? text.slice(text.indexOf("{") + 1, -1) : "");

// links[i] goes from stage i to stage i + 1; an id that is in both stands for itself
const steps = [];
function links(index) {
  if (!steps[index]) {
    const down = new Map(), up = new Map();
    const put = (map, from, to) => { if (!map.has(from)) map.set(from, []); map.get(from).push(to); };
    for (const [a, b] of DOC.links[index] || []) { put(down, a, b); put(up, b, a); }
    steps[index] = { down, up };
  }
  return steps[index];
}
function stepped(ids, from, to) {
  const map = to > from ? links(from).down : links(to).up;
  const there = stage(to).things;
  const found = new Set();
  for (const id of ids) {
    if (there.has(id)) found.add(id);
    for (const other of map.get(id) || []) if (there.has(other)) found.add(other);
  }
  return found;
}
// for every stage, the ids that the node was made from or that were made of it
const trails = new Map();
function trail(index, id) {
  const key = `${index}/${id}`;
  if (!trails.has(key)) {
    const found = [];
    found[index] = new Set([id]);
    for (let i = index; i < LAST; i += 1) found[i + 1] = stepped(found[i], i, i + 1);
    for (let i = index; i > 0; i -= 1) found[i - 1] = stepped(found[i], i, i - 1);
    trails.set(key, found);
  }
  return trails.get(key);
}
// nodes first: a parameter's trail matters only where it is the parameter that was asked for
function kin(index, id, other) {
  const ids = [...(trail(index, id)[other] || [])];
  const nodes = ids.filter((i) => stage(other).byId.has(i));
  return nodes.length ? nodes : ids;
}
function changedStages() {
  return DOC.stages.filter((x) => x.index > 0 && (x.changed || x.kind !== "pass")).map((x) => x.index);
}
function kernelOf(index, id) {
  for (let i = LAST; i >= 0; i -= 1) {
    for (const other of kin(index, id, i)) {
      const node = stage(i).byId.get(other);
      if (node && node.kernel !== null && node.kernel !== undefined) return { stage: i, id: other, key: node.kernel };
    }
  }
  return null;
}
function layerOf(index, id) {
  return kin(index, id, 0).find((i) => DOC.layers[i]) ?? null;
}

// pieces that are held compressed are opened when a page needs them
const opened = new Map();
function piece(id) {
  if (!opened.has(id)) opened.set(id, open(read(id)));
  return opened.get(id);
}
async function open(data) {
  if (!data || typeof data.gzip !== "string") return data;
  return JSON.parse(await inflate(data.gzip));
}
async function inflate(text, format = "gzip") {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream(format));
  return new Response(stream).text();
}
