// The first page: what this report is about, the questions it answers, and the table of passes.
function overview() {
  const first = DOC.stages[0], last = [...DOC.stages].reverse().find((x) => x.kind === "pass") || first;
  const sheet = h("div", { class: "sheet" });
  sheet.append(h("div", null, h("h1", null, h("bdi", null, DOC.graph)),
    h("p", { class: "lead" }, `${plural(first.totals.nodes, "node")} went through ${plural(DOC.stages.filter((x) => x.kind === "pass").length, "pass", "passes")} and became ${count(last.totals.nodes)}. Step through what each pass did, or start with a question.`)));
  sheet.append(h("div", { class: "facts" },
    fact("Nodes", `${count(first.totals.nodes)} \u2192 ${count(last.totals.nodes)}`, `${plural(DOC.stages.filter((x) => x.kind === "pass" && x.changed).length, "pass", "passes")} changed something`),
    fact("Multiply-adds", change(first.totals.macs, last.totals.macs, short), "for one input"),
    fact("Bytes moved", change(first.totals.bytes, last.totals.bytes, bytes), "read and written by the nodes"),
    fact("Peak memory", change(first.totals.peak_bytes, last.totals.peak_bytes, bytes), "of values between nodes"),
    fact("Weights", change(first.totals.free_parameters, last.totals.free_parameters, short), `${bytes(last.totals.parameter_bytes)} as stored${RANDOM_WEIGHTS ? "; random, not trained" : ""}`),
    worstError()));
  if (DOC.checks) sheet.append(checks());
  sheet.append(h("section", null, h("h2", { style: { margin: "0 0 .7rem" } }, "What do you want to know?"), questions()));
  sheet.append(h("section", { class: "card" }, h("h2", null, "What each pass did"), passTable()));
  sheet.append(h("section", { class: "card" }, h("h2", null, "How to make this report again"), h("div", { class: "body" }, h("p", null, h("code", null, DOC.command)),
    h("p", { class: "muted small" }, `irconv ${DOC.irconv}, `, Object.entries(DOC.versions || {}).map(([k, v]) => `${k} ${v}`).join(", ")))));
  return h("div", { class: "scroll" }, sheet);
}
// what `irconv check` was asked and found
function checks() {
  const failed = DOC.checks.filter((x) => !x.holds).length;
  const line = (x) => h("p", { class: "check" }, h("span", { class: x.holds ? "pill exact" : "pill bad" }, x.holds ? "holds" : "fails"), " ", name(x.what), " ", h("span", { class: "muted" }, x.told));
  return h("section", { class: "card", id: "checks" }, h("h2", null, failed ? `${failed} of ${plural(DOC.checks.length, "check")} fail` : `${plural(DOC.checks.length, "check")}: all hold`), h("div", { class: "body" }, DOC.checks.map(line)));
}
const fact = (what, value, note) => h("div", { class: "fact" }, h("div", { class: "what" }, what), h("div", { class: "value" }, value), h("div", { class: "note" }, note || "\u00a0"));
// `426 -> 212 MB`: a unit that both share is said once
function change(a, b, tell) {
  const [one, two] = [tell(a), tell(b)];
  if (one === two) return two;
  const [number, unit] = one.split("\u202f");
  return `${unit && two.endsWith(`\u202f${unit}`) ? number : one} \u2192 ${two}`;
}

function worstError() {
  const told = DOC.stages.filter((x) => x.numerics);
  if (!told.length) return fact("Error", "not measured", "--numerics measures it");
  const last = told[told.length - 1];
  const exact = told.filter((x) => x.numerics.exact === "exact").length;
  return fact("Error of the result", error(last.numerics.from_source), exact ? `${plural(exact, "pass", "passes")} shown to be exact` : "against the original, in float64");
}

function biggestChange() {
  const passes = DOC.stages.filter((x) => x.kind === "pass" && x.changed);
  return passes.reduce((best, x) => (!best || x.matches > best.matches ? x : best), null);
}
function questions() {
  const box = h("div", { class: "questions" });
  const big = biggestChange(), remarks = allRemarks();
  const put = (icon, question, answer, target) => box.append(h("button", { class: "question", "data-question": icon, onclick: () => go(target) }, ICONS[icon](), h("b", null, question), h("span", null, answer)));
  if (big) put("change", "What did this pass change?", `The most: ${passName(big.title)}, ${plural(big.matches, "rewrite")}. Each with its rule and the lines before and after.`, { v: "change", s: big.index, vs: null, as: "what" });
  put("why", "Why did that one not fire?", remarks.length ? `${plural(remarks.length, "remark")} ${remarks.length === 1 ? "names" : "name"} the node, the rule that declined, and the condition that failed.` : "No rule declined a node in these passes.", { v: "remarks" });
  const ids = Object.keys(DOC.layers);
  if (ids.length) {
    const best = ids.filter((i) => DOC.layers[i].names.length);
    const pictured = best.find((i) => !/\[1(, 1)*\]/.test(/kernel_shape = \[[^\]]*\]/.exec(stage(0).byId.get(Number(i))?.attributes || "")?.[0] || "")) || best[0] || ids[0], told = DOC.layers[pictured];
    const at = (view, other) => ({ v: "layers", layer: pictured, pic: viewNamed(view, told) || viewNamed(other, told) || null });
    const deep = best.filter((i) => viewNamed("receptive_field", DOC.layers[i])).pop() ?? pictured, deepest = DOC.layers[deep];
    put("shared", "What is shared?", layerAnswer(told, "shared"), at("matrix", "network"));
    put("zero", "What is zero?", layerAnswer(told, "zero"), at("matrix", "dense_network"));
    put("sight", "How far does this neuron see?", deepest.sight ? `${deepest.title}: ${deepest.sight.whole ? "the whole input" : `${sightText(deepest.sight)} pixels of the input`}. The list of layers tells it for each.` : "The receptive field of each layer in the input, exactly.", { v: "layers", layer: deep, pic: viewNamed("receptive_field", deepest) });
    put("finds", "What does this filter find?", "The weights as pictures, and what each map answers to.", at("filters", "activation_maps"));
  }
  return box;
}
function viewNamed(wanted, layer) {
  const names = layer.names || [];
  return names.find((n) => n === wanted) || names.find((n) => n.includes(wanted)) || null;
}
function layerAnswer(layer, about) {
  const f = layer.facts || {};
  if (about === "shared" && f.free_weights) return `${layer.title}: ${short(f.free_weights)} free weights fill ${short(f.entries)} places of its matrix. One colour is one weight.`;
  if (about === "zero" && f.fixed_zeros !== undefined) return `${layer.title}: ${percent(f.fixed_zeros, f.rows * f.columns)} of its matrix are fixed zeros, grey in its picture.`;
  return about === "shared" ? "One colour is one weight: see all its places in the layer's matrix." : "The fixed zeros of the layer's matrix.";
}

function passTable() {
  const numbers = DOC.stages.some((x) => x.numerics);
  const slowest = Math.max(...DOC.stages.map((x) => x.seconds || 0), 1e-9);
  const head = ["", "pass", "rewrites", "ops that came and went", numbers && "error: this pass", numbers && "since the original", "multiply-adds", "bytes", "time"];
  const body = h("tbody");
  const row = (x) => {
    const before = DOC.stages[Math.max(0, x.index - 1)];
    return h("tr", { class: `go${x.changed || x.kind !== "pass" ? "" : " same"}`, "data-stage": x.index, onclick: () => go({ v: "change", s: x.index, vs: null }) },
      h("td", { class: "num muted" }, x.index),
      h("td", null, h("button", null, h("b", null, passName(x.title))), passOptions(x.title) && h("div", { class: "muted small mono" }, passOptions(x.title))),
      h("td", { class: "num" }, x.matches ? count(x.matches) : "-"),
      h("td", null, deltas(x.delta)),
      numbers && h("td", { class: "num" }, badge(x) || (x.numerics ? error(x.numerics.error) : "")),
      numbers && h("td", { class: "num" }, x.numerics ? error(x.numerics.from_source) : ""),
      h("td", { class: "num" }, toward(before.totals.macs, x.totals.macs, short)),
      h("td", { class: "num" }, toward(before.totals.bytes, x.totals.bytes, bytes)),
      h("td", { class: "num" }, time(x.seconds || 0), h("span", { class: "bar", style: { width: `${Math.round(56 * (x.seconds || 0) / slowest)}px` } })));
  };
  const shown = DOC.stages.slice(1).filter((x) => x.changed || x.kind !== "pass");
  const same = DOC.stages.slice(1).filter((x) => !x.changed && x.kind === "pass");
  const draw = (all) => clear(body, (all ? DOC.stages.slice(1) : shown).map(row),
    same.length && !all && h("tr", null, h("td", { colspan: 9 }, h("button", { class: "muted small", onclick: () => draw(true) }, `${plural(same.length, "pass", "passes")} changed nothing: ${same.map((x) => passName(x.title)).join(", ")}. Show`))));
  draw(false);
  return h("div", { class: "table-wrap" }, h("table", { "data-testid": "passes" }, h("thead", null, h("tr", null, head.filter((x) => x !== false).map((text, i) => h("th", { class: i === 0 || i === 2 || i > 3 ? "num" : null }, text)))), body));
}
const toward = (a, b, tell) => (tell(a) === tell(b) ? [h("span", { class: "from" }, tell(b))] : [h("span", { class: "from" }, `${tell(a)} \u2192 `), h("b", null, tell(b))]);
function deltas(delta) {
  const entries_ = Object.entries(delta || {}).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  return h("span", { class: "delta" }, entries_.slice(0, 8).map(([op, by]) => h("span", { class: `pill ${by > 0 ? "add" : "del"}` }, `${by > 0 ? "+" : "\u2212"}${count(Math.abs(by))} ${cut(op, 40)}`)), entries_.length > 8 && h("span", { class: "muted small" }, `and ${entries_.length - 8} more`));
}
function badge(x) {
  const n = x.numerics;
  if (!n) return null;
  if (n.failed) return h("span", { class: "pill bad", title: n.failed }, "too far off");
  if (n.exact === "exact") return h("span", { class: "pill exact", title: "Bit for bit the same on integer-valued data, value by value" }, "exact");
  if (n.exact === "differs") return h("span", { class: "pill bad", title: "An exact pass whose result differs on integer-valued data" }, "NOT exact");
  return null;
}

const icon = (...parts) => s("svg", { viewBox: "0 0 40 40", "aria-hidden": "true" }, parts);
const dot = (x, y, fill, r = 4) => s("circle", { cx: x, cy: y, r, fill });
const box = (x, y, fill, size = 8) => s("rect", { x, y, width: size, height: size, rx: 1.5, fill });
const line = (x1, y1, x2, y2, stroke, width = 2) => s("line", { x1, y1, x2, y2, stroke, "stroke-width": width });
const B = "#0072b2", O = "#e69f00", G = "#009e73", N = "#9aa6af55", P = "#cc79a7";
const ICONS = {
  change: () => icon(box(4, 8, O, 10), box(4, 22, O, 10), s("path", { d: "M17 20h7m-3-4 4 4-4 4", fill: "none", stroke: "#8a949c", "stroke-width": 2 }), box(27, 14, B, 11)),
  why: () => icon(box(5, 6, N, 12), box(23, 6, B, 12), box(23, 22, B, 12), s("circle", { cx: 11, cy: 28, r: 7, fill: "none", stroke: O, "stroke-width": 2.4 }), s("text", { x: 11, y: 32.5, "text-anchor": "middle", "font-size": 12, "font-weight": 700, fill: O }, "?")),
  shared: () => icon([0, 1, 2, 3].flatMap((r) => [0, 1, 2, 3].map((c) => box(3 + c * 9, 3 + r * 9, c === r ? B : c === r + 1 ? O : N)))),
  zero: () => icon([0, 1, 2, 3].flatMap((r) => [0, 1, 2, 3].map((c) => (c === r || c === r + 1 ? box(3 + c * 9, 3 + r * 9, N) : s("text", { x: 7 + c * 9, y: 10.5 + r * 9, "text-anchor": "middle", "font-size": 9, "font-weight": 700, fill: B }, "0"))))),
  sight: () => icon(line(20, 6, 6, 32, B, 1.6), line(20, 6, 34, 32, B, 1.6), line(20, 6, 20, 32, B, 1.6), dot(20, 7, B, 4.5), [6, 13, 20, 27, 34].map((x) => dot(x, 33, O, 3))),
  finds: () => icon(s("path", { d: "M7 30C7 15 15 7 31 7", fill: "none", stroke: N, "stroke-width": 9 }), s("path", { d: "M7 30C7 15 15 7 31 7", fill: "none", stroke: B, "stroke-width": 3.4 }), s("circle", { cx: 27, cy: 27, r: 7, fill: "none", stroke: G, "stroke-width": 2.6 }), line(32, 32, 37, 37, G, 2.6)),
};
