// What is the same, added, removed, changed or moved between any two stages: by identity, not by text.
const diffs = new Map();

function compare(a, b) {
  const key = `${a}/${b}`;
  if (!diffs.has(key)) diffs.set(key, a <= b ? makeDiff(stage(a), stage(b)) : turned(compare(b, a)));
  return diffs.get(key);
}
const OTHER_WAY = { add: "del", del: "add" };
function turned({ rows, states, tally, translated: other }) {
  const back = (state_) => OTHER_WAY[state_] || state_;
  const entry = (e) => e && { ...e, state: back(e.state) };
  const map = (side) => new Map([...side].map(([id, state_]) => [id, back(state_)]));
  return {
    rows: rows.map((r) => ({ ...r, a: entry(r.b), b: entry(r.a), state: back(r.state) })),
    states: { left: map(states.right), right: map(states.left) },
    tally: { ...tally, add: tally.del, del: tally.add },
    translated: other,
  };
}

function entries(one) {
  return one.lines.map((text, line) => {
    const thing = one.byLine.get(line);
    const edge = line === 0 ? "head" : line === one.lines.length - 1 ? "end" : `text ${text}`;
    return { line, text, id: thing ? thing.id : null, key: !thing ? edge : line === thing.line ? thing.id : `${thing.id}/${line - thing.line}` };
  });
}

// a node that became another alone is the same node in another form
function paired(left, right, one, two) {
  const theirs = new Map(right.map((e) => [e.id, e])), mine = new Set(left.map((e) => e.id));
  const only = (from, id, to) => { const found = kin(from, id, to); return found.length === 1 ? found[0] : null; };
  for (const entry of left) {
    if (entry.id === null || theirs.has(entry.id)) continue;
    const next = only(one.index, entry.id, two.index), other = theirs.get(next);
    if (other && !mine.has(next) && only(two.index, next, one.index) === entry.id) other.key = entry.key;
  }
}
// a new line in whose place nothing else is written was made anew, not changed
function remade(left, right) {
  const mine = new Set(left.map((e) => e.key)), theirs = new Set(right.map((e) => e.key));
  const free = new Map(left.filter((e) => !theirs.has(e.key)).map((e) => [e.text, e]));
  for (const entry of right) {
    if (mine.has(entry.key) || !free.has(entry.text)) continue;
    entry.key = free.get(entry.text).key;
    free.delete(entry.text);
  }
}

// a graph, a program and an ONNX model are written in different words: there, what stands for
// something on the other side is carried over, and only what does not is added or removed
const LANGUAGE = { source: "graph", pass: "graph", program: "program", onnx: "onnx", onnxruntime: "onnx" };
const translated = (a, b) => LANGUAGE[DOC.stages[a].kind] !== LANGUAGE[DOC.stages[b].kind];

function translation(one, two) {
  const states = { left: new Map(), right: new Map() };
  const tally = { add: 0, del: 0, chg: 0, mov: 0, same: 0 };
  const side = (from, to, key, gone) => entries(from).filter((e) => e.id !== null && from.byId.has(e.id)).map((e) => {
    const state_ = kin(from.index, e.id, to.index).length ? "same" : gone;
    if (!states[key].has(e.id)) tally[state_] += state_ === "same" && key === "right" ? 0 : 1;
    states[key].set(e.id, state_);
    return { ...e, state: state_ };
  });
  const left = side(one, two, "left", "del"), right = side(two, one, "right", "add");
  return { rows: gap(left, right, one, two), states, tally, translated: true };
}

function makeDiff(one, two) {
  if (translated(one.index, two.index)) return translation(one, two);
  const left = entries(one), right = entries(two);
  paired(left, right, one, two);
  remade(left, right);
  const same = (a, b) => {
    const since = b.id !== null && two.byId.has(b.id) ? two.byId.get(b.id).since : undefined;
    return a.text === b.text || (since !== undefined && since !== null && since <= one.index);
  };
  const place = new Map(right.map((e, i) => [e.key, i]));
  const common = [];
  left.forEach((e, i) => { if (place.has(e.key)) common.push([i, place.get(e.key)]); });
  const kept = longestRise(common.map(([, j]) => j)).map((k) => common[k]);
  const keptLeft = new Set(kept.map(([i]) => i));
  const states = { left: new Map(), right: new Map() };
  const tally = { add: 0, del: 0, chg: 0, mov: 0, same: 0 };
  const note = (side, entry, state) => { if (entry.id !== null) states[side].set(entry.id, state); };
  const rowsOf = [];
  const inLeft = new Set(left.map((e) => e.key));
  const isNode = (entry, of) => entry.id !== null && of.byId.has(entry.id);
  left.forEach((e, i) => {
    e.state = !place.has(e.key) ? "del" : !same(e, right[place.get(e.key)]) ? "chg" : keptLeft.has(i) ? "same" : "mov";
    note("left", e, e.state);
    if (isNode(e, one)) tally[e.state] += 1;
  });
  const keptRight = new Set(kept.map(([, j]) => j));
  const leftPlace = new Map(left.map((e, i) => [e.key, i]));
  right.forEach((e, j) => {
    e.state = !inLeft.has(e.key) ? "add" : !same(left[leftPlace.get(e.key)], e) ? "chg" : keptRight.has(j) ? "same" : "mov";
    note("right", e, e.state);
    if (isNode(e, two) && e.state === "add") tally.add += 1;
  });
  let i = 0, j = 0;
  for (const [ki, kj] of [...kept, [left.length, right.length]]) {
    rowsOf.push(...gap(left.slice(i, ki), right.slice(j, kj), one, two));
    if (ki < left.length) rowsOf.push({ a: left[ki], b: right[kj], state: left[ki].state });
    i = ki + 1; j = kj + 1;
  }
  return { rows: rowsOf, states, tally };
}

// between two lines that stayed: what went beside what came of it
function gap(gone, came, one, two) {
  const rows = [];
  let next = 0;
  const place = new Map();
  gone.forEach((e, k) => { if (e.id !== null) place.set(e.id, k); });
  for (const entry of came) {
    const from = entry.id === null ? [] : kinOf(two.index, entry.id, one.index);
    const last = from.reduce((best, id) => Math.max(best, place.get(id) ?? -1), -1);
    if (last < next) { rows.push({ a: null, b: entry, state: entry.state }); continue; }
    for (; next < last; next += 1) rows.push({ a: gone[next], b: null, state: gone[next].state });
    rows.push({ a: gone[next], b: entry, state: entry.state === "same" && gone[next].state === "same" ? "same" : "pair" });
    next += 1;
  }
  for (; next < gone.length; next += 1) rows.push({ a: gone[next], b: null, state: gone[next].state });
  return rows;
}
const kinOf = (index, id, other) => [...(trail(index, id)[other] || [])];

// the places of a longest rising subsequence (Fredman 1975)
function longestRise(values) {
  const tails = [], before = [];
  values.forEach((value, i) => {
    let low = 0, high = tails.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[tails[middle]] < value) low = middle + 1; else high = middle;
    }
    before[i] = low > 0 ? tails[low - 1] : -1;
    tails[low] = i;
  });
  const found = [];
  for (let at = tails.length ? tails[tails.length - 1] : -1; at >= 0; at = before[at]) found.push(at);
  return found.reverse();
}
