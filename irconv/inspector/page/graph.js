// The graph of a stage: places come from the report, only what is in sight is drawn.
const ROW = 86, BOX = 192, HIGH = 52, EDGE_ROWS = 8;

const FAMILIES = [
  ["convolution", "#0072b2", /conv/i],
  ["product", "#56b4e9", /matmul|gemm|einsum/i],
  ["pool", "#009e73", /pool/i],
  ["activation", "#e69f00", /relu|sigmoid|softmax|clip|tanh|elu|swish|gelu|erf/i],
  ["normalisation", "#cc79a7", /norm|^lrn$/i],
  ["arithmetic", "#d55e00", /^(add|sub|mul|div|sum|mean|pow|sqrt|max|min|affine.*|pointwise.*)$/i],
  ["shape", "#8a949c", /./],
];
const family = (op) => FAMILIES.find(([, , test]) => test.test(op));

// how the nodes are coloured, beside what changed
const HEATS = {
  macs: { title: "multiply-adds", of: (n) => n.macs, tell: (v) => short(v) },
  bytes: { title: "bytes moved", of: (n) => n.bytes, tell: bytes },
  error: { title: "error against float64", of: (n) => (typeof n.error === "number" ? n.error : 0), tell: error },
};
const RAMPS = {
  light: [[243, 247, 250], [158, 202, 225], [66, 133, 190], [8, 64, 129]],
  dark: [[30, 38, 46], [24, 74, 120], [62, 142, 208], [190, 224, 252]],
};
const isDark = () => {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
function heat(t) {
  const ramp = isDark() ? RAMPS.dark : RAMPS.light;
  const at = clamp(t, 0, 1) * (ramp.length - 1), low = Math.min(Math.floor(at), ramp.length - 2);
  const [r, g, b] = ramp[low].map((c, i) => Math.round(c + (ramp[low + 1][i] - c) * (at - low)));
  return { fill: `rgb(${r} ${g} ${b})`, text: 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#11181d" : "#ffffff" };
}

class GraphPane {
  constructor(place, pick) {
    this.root = s("g");
    this.edgeLayer = s("g");
    this.nodeLayer = s("g");
    this.root.append(this.edgeLayer, this.nodeLayer);
    this.picture = s("svg", { class: "graph", role: "group", "aria-label": "the graph" }, this.root);
    this.guard = h("div", { class: "guard" });
    this.scroller = h("div", { class: "scroller", tabindex: 0 }, this.picture);
    this.ruler = ruler(this.scroller, () => this.marks());
    this.body = h("div", { class: "pane-body" }, this.scroller, this.ruler.box);
    clear(place, this.guard, this.body);
    this.nodes = new Map();
    this.edges = new Map();
    this.scroller.addEventListener("scroll", () => { this.later(); if (this.onscroll) this.onscroll(); }, { passive: true });
    const choose = (event) => {
      const g = event.target.closest("[data-node]");
      if (g) pick(this.stage.index, Number(g.dataset.node));
    };
    this.picture.addEventListener("click", choose);
    this.picture.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(event); });
    this.picture.addEventListener("pointerover", (event) => this.touch(event.target.closest("[data-node]")));
    this.scroller.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(this.scale * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
    }, { passive: false });
    new ResizeObserver(() => this.fit()).observe(this.scroller);
  }
  // `states`: what changed, by id, or null; `colour`: a key of HEATS, or "op", or "change"
  show(index, states, colour, chosen) {
    this.stage = stage(index);
    Object.assign(this, { states, colour, chosen, touched: null });
    this.places = new Map(this.stage.layout.places.map(([id, x, row]) => [id, { x, row, y: 14 + row * ROW }]));
    this.order = [...this.places].sort((a, b) => a[1].row - b[1].row);
    this.buckets = [];
    this.stage.layout.edges.forEach(([a, b, xs], i) => {
      const from = this.places.get(a), to = this.places.get(b);
      if (!from || !to) return;
      for (let k = Math.floor(from.row / EDGE_ROWS); k <= Math.floor(to.row / EDGE_ROWS); k += 1) (this.buckets[k] ||= []).push(i);
    });
    const heatOf = HEATS[colour];
    this.top = heatOf ? Math.max(1e-300, ...this.stage.nodes.map((n) => heatOf.of(n) || 0)) : 1;
    const drawn = this.stage.drawn;
    this.guard.hidden = !drawn;
    this.guard.textContent = drawn ? `Drawn: the ${count(drawn)} nodes around what changed, of ${count(this.stage.nodes.length)}. The text shows all of them.` : "";
    this.scale = 0;
    this.fit();
  }
  fit() {
    const width = this.scroller.clientWidth;
    if (!width || !this.stage) return;
    if (!this.scale || !this.zoomed) this.scale = Math.min(this.fitting(), this.beside && this.beside.stage ? this.beside.fitting() : 1);
    this.size();
  }
  // the scale at which the whole width is in sight, as long as it can be read; two panes share one
  fitting() { return clamp((this.scroller.clientWidth - 8) / this.stage.layout.width, 0.7, 1); }
  size() {
    const { width, rows } = this.stage.layout;
    this.left = Math.max(0, (this.scroller.clientWidth - width * this.scale) / 2);
    this.picture.setAttribute("width", Math.max(width * this.scale, this.scroller.clientWidth));
    this.picture.setAttribute("height", this.height = (rows * ROW + 20) * this.scale);
    this.root.setAttribute("transform", `translate(${this.left} 0) scale(${this.scale})`);
    this.redraw();
  }
  zoom(scale) {
    const middle = (this.scroller.scrollTop + this.scroller.clientHeight / 2) / this.scale;
    this.scale = clamp(scale, 0.2, 2);
    this.zoomed = true;
    this.size();
    this.scroller.scrollTop = middle * this.scale - this.scroller.clientHeight / 2;
  }
  redraw() {
    for (const map of [this.nodes, this.edges]) { for (const element of map.values()) element.remove(); map.clear(); }
    this.now();
    this.ruler.draw();
  }
  later() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.now(); });
  }
  now() {
    if (!this.stage || !this.scale) return;
    const size = this.scroller.clientHeight || 600, top = this.scroller.scrollTop;
    const first = Math.floor((top - size / 2) / this.scale / ROW), last = Math.ceil((top + size * 1.5) / this.scale / ROW);
    for (const [id, element] of this.nodes) {
      const { row } = this.places.get(id);
      if (row < first || row > last) { element.remove(); this.nodes.delete(id); }
    }
    let low = 0, high = this.order.length;
    while (low < high) { const m = (low + high) >> 1; if (this.order[m][1].row < first) low = m + 1; else high = m; }
    for (let i = low; i < this.order.length && this.order[i][1].row <= last; i += 1) {
      const [id, place] = this.order[i];
      if (!this.nodes.has(id)) this.nodes.set(id, this.nodeLayer.appendChild(this.box(id, place)));
    }
    const wanted = new Set();
    for (let k = Math.max(0, Math.floor(first / EDGE_ROWS)); k <= Math.floor(last / EDGE_ROWS); k += 1) for (const i of this.buckets[k] || []) wanted.add(i);
    for (const [i, element] of this.edges) if (!wanted.has(i)) { element.remove(); this.edges.delete(i); }
    for (const i of wanted) if (!this.edges.has(i)) this.edges.set(i, this.edgeLayer.appendChild(this.edge(i)));
  }
  edge(i) {
    const [a, b, xs] = this.stage.layout.edges[i];
    const from = this.places.get(a), to = this.places.get(b);
    const way = [[from.x, from.y + HIGH]];
    if (xs.length === 1 && to.row - from.row > 2) {
      way.push([xs[0], from.y + ROW], [xs[0], to.y - ROW + HIGH]);
    } else xs.forEach((x, k) => way.push([x, from.y + (k + 1) * ROW], [x, from.y + (k + 1) * ROW + HIGH]));
    way.push([to.x, to.y]);
    let d = `M${way[0]}`;
    for (let k = 1; k < way.length; k += 1) {
      const [x0, y0] = way[k - 1], [x1, y1] = way[k], middle = (y0 + y1) / 2;
      d += x0 === x1 ? `V${y1}` : `C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`;
    }
    const path = s("path", { class: "edge", d });
    if (this.touched === a || this.touched === b) path.classList.add("touch");
    return path;
  }
  box(id, { x, y }) {
    const node = this.stage.things.get(id);
    const state = this.states ? this.states.get(id) || "same" : null;
    const plain = this.colour !== "change" && HEATS[this.colour];
    const classes = ["g-node", node.input ? "g-input" : "", state === "same" ? (plain ? "" : "dim") : state || ""];
    const chosen = this.chosen;
    if (chosen) {
      if (chosen.stage === this.stage.index && chosen.id === id) classes.push("chosen");
      else if (kin(chosen.stage, chosen.id, this.stage.index).includes(id)) classes.push("kin");
    }
    const box = s("rect", { class: "box", width: BOX, height: HIGH, rx: 8 });
    const g = s("g", { transform: `translate(${x - BOX / 2} ${y})`, "data-node": id, tabindex: -1, role: "button", "aria-label": `${node.op} ${node.name}${state && state !== "same" ? `, ${STATE_NAMES[state]}` : ""}` }, box);
    if (plain && !node.input) {
      const t = Math.sqrt((HEATS[this.colour].of(node) || 0) / this.top), { fill, text } = heat(t);
      box.style.setProperty("fill", fill);
      g.style.setProperty("--heat-text", text);
      classes.push("heat");
    }
    g.setAttribute("class", classes.filter(Boolean).join(" "));
    const strip = s("rect", { x: 0, y: 9, width: 4, height: HIGH - 18, rx: 2, fill: node.input ? "none" : family(node.op)[1] });
    const output = this.stage.outputs.includes(id) ? " \u2192 output" : "";
    g.append(strip,
      s("text", { class: "g-op", x: 13, y: 18 }, cut(node.op + output, state && state !== "same" ? 22 : 25)),
      s("text", { class: "g-name", x: 13, y: 32 }, cut(node.name, 26)),
      s("text", { class: "g-type", x: 13, y: 45 }, cut(plain ? HEATS[this.colour].tell(HEATS[this.colour].of(node)) : node.type, 28)),
      s("title", null, `${node.op} %${node.name}\n${node.type}${node.attributes ? `\n${node.attributes}` : ""}`));
    if (state && MARKS[state]) g.append(s("text", { class: "g-mark", x: BOX - 17, y: 19 }, MARKS[state]));
    return g;
  }
  touch(g) {
    const id = g ? Number(g.dataset.node) : null;
    if (id === this.touched) return;
    this.touched = id;
    for (const [i, element] of this.edges) {
      const [a, b] = this.stage.layout.edges[i];
      element.classList.toggle("touch", id !== null && (a === id || b === id));
    }
  }
  choose(chosen, reveal) {
    this.chosen = chosen;
    if (!this.stage) return;
    for (const element of this.nodes.values()) element.remove();
    this.nodes.clear();
    this.now();
    if (!chosen || !reveal) return;
    const id = chosen.stage === this.stage.index ? chosen.id : kin(chosen.stage, chosen.id, this.stage.index)[0];
    this.reveal(id);
  }
  reveal(id) {
    const place = this.places.get(id);
    if (!place) return;
    const top = this.scroller.scrollTop, size = this.scroller.clientHeight, y = place.y * this.scale;
    if (y < top + 30 || y > top + size - 110) this.scroller.scrollTop = y - size / 3;
    const x = this.left + place.x * this.scale, half = BOX / 2 * this.scale;
    if (x - half < this.scroller.scrollLeft || x + half > this.scroller.scrollLeft + this.scroller.clientWidth) {
      this.scroller.scrollLeft = x - this.scroller.clientWidth / 2;
    }
  }
  marks() {
    const items = [];
    if (this.states) for (const [id, { y }] of this.places) {
      const state = this.states.get(id);
      if (state && state !== "same") items.push({ from: y * this.scale, to: (y + HIGH) * this.scale, state });
    }
    return { total: Math.max(this.height || 1, this.scroller.clientHeight), items };
  }
  changes() {
    return this.order.filter(([id]) => this.states && (this.states.get(id) || "same") !== "same").map(([id]) => id);
  }
  step(by) {
    const middle = (this.scroller.scrollTop + this.scroller.clientHeight / 3) / this.scale;
    const rows = this.changes().map((id) => this.places.get(id).y);
    const next = by > 0 ? rows.find((y) => y > middle + 4) : rows.reverse().find((y) => y < middle - 4);
    if (next !== undefined) this.scroller.scrollTop = next * this.scale - this.scroller.clientHeight / 3;
  }
}

// two panes scroll together: what is in both stands at the same height, in between in proportion
function scrollTogether(one, two) {
  const pairs = [];
  for (const [id, place] of one.order) {
    const other = kin(one.stage.index, id, two.stage.index).map((i) => two.places.get(i)).find(Boolean);
    if (other) pairs.push([place.y, other.y]);
  }
  const kept = longestRise(pairs.map(([, y]) => y)).map((k) => pairs[k]);
  kept.unshift([0, 0]);
  kept.push([one.stage.layout.rows * ROW, two.stage.layout.rows * ROW]);
  let leader = null;
  const follow = (from, to, a, b) => {
    if (leader !== from) return;
    const third = from.scroller.clientHeight / 3, y = (from.scroller.scrollTop + third) / from.scale;
    let i = 0;
    while (i + 2 < kept.length && kept[i + 1][a] <= y) i += 1;
    const [p, q] = [kept[i], kept[i + 1]], span = q[a] - p[a];
    const wanted = p[b] + (span ? ((y - p[a]) / span) * (q[b] - p[b]) : 0);
    to.scroller.scrollTop = wanted * to.scale - to.scroller.clientHeight / 3;
  };
  const lead = (pane) => () => { leader = pane; };
  for (const [pane, other, a, b] of [[one, two, 0, 1], [two, one, 1, 0]]) {
    for (const kind of ["wheel", "pointerdown", "touchstart", "keydown"]) pane.body.addEventListener(kind, lead(pane), { passive: true });
    pane.onscroll = () => follow(pane, other, a, b);
    pane.lead = lead(pane);
  }
}
