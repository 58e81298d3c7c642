// A stage, or any two beside each other: what changed, the text, the graph.
let panes = [];

function changePage(now) {
  const { s: index, vs, as, alone } = now;
  const from = vs ?? Math.max(0, index - 1);
  const single = alone || from === index;
  const page = h("div", { class: "main-inner fill", style: { flex: "1" } });
  page.append(toolbar(now, from, single));
  panes = [];
  if (as === "text") page.append(textPage(now, from, single));
  else if (as === "graph") page.append(graphPage(now, from, single));
  else page.append(whatPage(index, from));
  return page;
}

function toolbar(now, from, single) {
  const options = (chosen) => DOC.stages.map((x) => h("option", { value: String(x.index), selected: x.index === chosen }, cut(`${x.index}  ${x.title}`, 40)));
  const choose = (key) => (event) => go({ [key]: Number(event.target.value), alone: false });
  const segment = (key, label, hint) => h("button", { "aria-pressed": now.as === key ? "true" : "false", title: hint, "data-as": key, onclick: () => go({ as: key }) }, label);
  const row = h("div", { class: "bar-row" },
    h("span", { class: "segments" }, segment("what", "What changed", "w"), segment("text", "Text", "t"), segment("graph", "Graph", "g")),
    !single && h("label", { class: "pick hide-phone" }, "from ", h("select", { class: "select", "aria-label": "compare from", onchange: choose("vs"), "data-testid": "from" }, options(from))),
    h("label", { class: "pick hide-phone" }, single ? "stage " : "to ", h("select", { class: "select", "aria-label": "stage", onchange: choose("s"), "data-testid": "to" }, options(now.s))));
  if (now.as === "what") return row;
  row.append(h("label", { class: "pick", title: "d" }, h("input", { type: "checkbox", checked: !single, "data-testid": "diff", onchange: () => go({ alone: !single }) }), "compare"));
  if (now.as === "graph") {
    row.append(h("label", { class: "pick" }, "colour ", h("select", { class: "select", "aria-label": "colour", "data-testid": "colour", onchange: (event) => go({ colour: event.target.value }) },
      [["change", single ? "kinds of ops" : "what changed"], ...Object.entries(HEATS).map(([k, v]) => [k, v.title])].map(([k, label]) => h("option", { value: k, selected: now.colour === k }, label)))));
    row.append(h("span", { class: "segments hide-phone" }, h("button", { title: "smaller", "aria-label": "smaller", onclick: () => panes.forEach((p) => p.zoom(p.scale / 1.25)) }, "\u2212"), h("button", { title: "larger", "aria-label": "larger", onclick: () => panes.forEach((p) => p.zoom(p.scale * 1.25)) }, "+")));
  }
  if (!single) row.append(h("span", { class: "segments" }, h("button", { title: "previous change (p)", "aria-label": "previous change", onclick: () => nextChange(-1) }, "\u2191"), h("button", { title: "next change (n)", "aria-label": "next change", onclick: () => nextChange(1) }, "\u2193")));
  row.append(legend(now, from, single));
  return row;
}
function nextChange(by) {
  const pane = panes[panes.length - 1];
  const busy = panes.find((p) => p.changes && p.changes().length) || pane;
  const one = pane && pane.changes && !pane.changes().length ? busy : pane;
  if (!one) return;
  if (one.lead) one.lead();
  one.step(by);
}

function legend(now, from, single) {
  const box = h("span", { class: "legend" });
  if (now.as === "graph" && HEATS[now.colour]) {
    const top = Math.max(0, ...stage(now.s).nodes.map((n) => HEATS[now.colour].of(n) || 0));
    const ramp = h("canvas", { width: 96, height: 1 });
    const pen = ramp.getContext("2d");
    for (let i = 0; i < 96; i += 1) { pen.fillStyle = heat(Math.sqrt(i / 95)); pen.fillStyle = heat(Math.sqrt(i / 95)).fill; pen.fillRect(i, 0, 1, 1); }
    box.append("0 ", ramp, ` ${HEATS[now.colour].tell(top)}`);
    if (now.colour === "error" && !top) box.append(h("span", null, "(not measured)"));
    return box;
  }
  if (single) {
    if (now.as === "graph") FAMILIES.forEach(([label, colour]) => box.append(h("span", null, h("i", { style: { background: colour } }), label)));
    return box;
  }
  const { tally, translated: other } = compare(from, now.s);
  for (const [state, label] of [["add", "added"], ["del", "removed"], ["chg", "changed"], ["mov", "moved"]]) {
    if (tally[state]) box.append(h("span", null, h("i", { class: state }), `${count(tally[state])} ${label}`));
  }
  box.append(h("span", null, `${count(tally.same)} ${other ? "carried over" : "unchanged"}`));
  return box;
}

const chosenOf = (now) => (now.n ? { stage: Number(now.n.split(".")[0]), id: Number(now.n.split(".")[1]) } : null);
function paneTitle(index) {
  const x = DOC.stages[index];
  return h("div", { class: "pane-title" }, h("span", null, `stage ${index}`), h("b", null, cut(x.title, 50)), h("span", null, plural(x.totals.nodes, "node")));
}

function textPage(now, from, single) {
  const place = h("div", { class: "pane", "data-testid": "text" });
  const pane = new TextPane(place, pick);
  panes = [pane];
  const titles = single || phone() ? null : h("div", { style: { display: "grid", "grid-template-columns": "1fr 1fr", "padding-right": "14px" } }, paneTitle(from), paneTitle(now.s));
  const outer = h("div", { class: "fill", style: { flex: "1" } }, titles, h("div", { class: "panes" }, place));
  requestAnimationFrame(() => {
    pane.show(single ? null : from, now.s, false, chosenOf(now));
    if (now.n) pane.choose(chosenOf(now), true);
  });
  return outer;
}

function graphPage(now, from, single) {
  const holder = h("div", { class: "panes graphs", "data-testid": "graph" });
  const states = single || translated(from, now.s) && !compare(from, now.s).tally.add && !compare(from, now.s).tally.del ? null : compare(from, now.s).states;
  const make = (index, side) => {
    const body = h("div", { class: "fill", style: { flex: "1", position: "relative" } });
    holder.append(h("div", { class: "pane", "data-pane": side }, paneTitle(index), body));
    const pane = new GraphPane(body, pick);
    panes.push(pane);
    return () => pane.show(index, states && states[side], now.colour, chosenOf(now));
  };
  panes = [];
  const starts = single ? [make(now.s, "right")] : [make(from, "left"), make(now.s, "right")];
  requestAnimationFrame(() => {
    if (panes.length === 2) { panes[0].beside = panes[1]; panes[1].beside = panes[0]; }
    starts.forEach((start) => start());
    if (panes.length === 2) { panes[0].fit(); scrollTogether(...panes); }
    const right = panes[panes.length - 1];
    if (now.n) panes.forEach((p) => p.choose(chosenOf(now), true));
    else if (!single) {
      const pane = right.changes().length ? right : panes[0];
      const first = pane.changes()[0];
      if (first !== undefined) { if (pane.lead) pane.lead(); pane.reveal(first); pane.scroller.scrollTop = Math.max(0, pane.places.get(first).y * pane.scale - 90); }
    }
  });
  return holder;
}

// -- what changed, in words -----------------------------------------------------------------------

function whatPage(index, from) {
  const x = DOC.stages[index], before = DOC.stages[from];
  const sheet = h("div", { class: "sheet", "data-testid": "what" });
  const low = Math.min(from, index), high = Math.max(from, index);
  const between = DOC.stages.slice(low + 1, high + 1);
  const rewrites = between.flatMap((y) => stage(y.index).rewrites.map((r) => ({ ...r, stage: y.index })));
  const { tally, translated: other } = compare(from, index);
  const near = high - low === 1 && index > from;
  sheet.append(h("div", null, h("h1", null, near ? cut(x.title, 80) : `${passName(before.title)} to ${passName(x.title)}`), h("p", { class: "lead" }, sentence(x, near, between, rewrites, tally))));
  if (index > 0) sheet.append(h("div", { class: "facts" },
    fact("Nodes", change(before.totals.nodes, x.totals.nodes, count), other ? `${count(tally.same)} carried over` : `${count(tally.add)} added, ${count(tally.del)} removed, ${count(tally.chg)} changed`),
    fact("Multiply-adds", change(before.totals.macs, x.totals.macs, short)),
    fact("Bytes moved", change(before.totals.bytes, x.totals.bytes, bytes)),
    fact("Peak memory", change(before.totals.peak_bytes, x.totals.peak_bytes, bytes)),
    typeof x.totals.free_parameters === "number" && typeof before.totals.free_parameters === "number" && fact("Weights", change(before.totals.free_parameters, x.totals.free_parameters, short), change(before.totals.parameter_bytes, x.totals.parameter_bytes, bytes) + " stored"),
    errorFact(x)));
  if (x.kind === "program") sheet.append(programCard(stage(index)));
  if (near && Object.keys(x.delta || {}).length) sheet.append(h("p", null, deltas(x.delta)));
  if (index > 0) sheet.append(h("div", { class: "chips" },
    h("button", { class: "tool", onclick: () => go({ as: "text", alone: false }) }, "See the text side by side", h("kbd", { class: "hint" }, "t")),
    h("button", { class: "tool", onclick: () => go({ as: "graph", alone: false }) }, "See the graphs side by side", h("kbd", { class: "hint" }, "g"))));
  if (rewrites.length) sheet.append(rewriteCard(rewrites));
  const remarks = allRemarks().filter((r) => r.stage > low && r.stage <= high);
  if (remarks.length) sheet.append(h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", null, "Looked at, and declined"), h("p", { class: "muted small" }, `${plural(remarks.length, "remark")}: a rule saw the node, and this condition failed.`)), remarkGroups(remarks, 12)));
  if (index === 0) sheet.append(sourceCard());
  return h("div", { class: "scroll" }, sheet);
}
function errorFact(x) {
  const n = x.numerics;
  if (!n) return fact("Time", time(x.seconds || 0), "error not measured");
  return fact("Error of this pass", badge(x) || error(n.error), `${error(n.from_source)} since the original; ${time(x.seconds || 0)}`);
}
function sentence(x, near, between, rewrites, tally) {
  if (x.index === 0) return `The model as it was read: ${plural(x.totals.nodes, "node")}, ${short(x.totals.free_parameters)} weights. Press j for the first pass.`;
  if (x.kind === "onnx") return "The ONNX model that is exported.";
  if (x.kind === "onnxruntime") return "What onnxruntime's own optimiser makes of the exported model.";
  if (x.kind === "program") return `The program that ${x.title} makes: each node and the kernel that runs it.`;
  if (!rewrites.length) return tally.add + tally.del + tally.chg ? "The graphs differ; no rewrite is recorded." : "Nothing changed: no rule found a place.";
  const rules = new Set(rewrites.map((r) => r.rule)).size;
  const where = near ? "This pass" : `${plural(between.length, "pass", "passes")} in between`;
  return `${where} made ${plural(rewrites.length, "rewrite")} by ${plural(rules, "rule")}. ${count(tally.same)} nodes stayed exactly as they were.`;
}
// which kernel runs how much of the network
function programCard(one) {
  const groups = new Map();
  for (const n of one.nodes) {
    const key = n.kernel ?? "";
    if (!groups.has(key)) groups.set(key, { ids: [], macs: 0 });
    groups.get(key).ids.push(n.id);
    groups.get(key).macs += n.macs || 0;
  }
  const rows = [...groups].sort((a, b) => b[1].macs - a[1].macs || b[1].ids.length - a[1].ids.length);
  return h("section", { class: "card table-wrap", "data-testid": "program" }, h("h2", null, "Which kernel runs what"), h("table", null,
    h("thead", null, h("tr", null, h("th", null, "kernel"), h("th", { class: "num" }, "nodes"), h("th", { class: "num" }, "multiply-adds"), h("th", null, "of which"))),
    h("tbody", null, rows.map(([key, g]) => h("tr", null,
      h("td", null, key ? h("button", { class: "chip", onclick: () => go({ v: "kernels", kernel: key, n: null }) }, name(kernelShort(key))) : h("span", { class: "muted" }, "no kernel: moved or shared, or run by Op.run")),
      h("td", { class: "num" }, count(g.ids.length)), h("td", { class: "num" }, percent(g.macs, one.totals.macs)), h("td", null, chips(one.index, g.ids, true, 6)))))));
}
function sourceCard() {
  const one = stage(0), ops = new Map();
  for (const n of one.nodes) ops.set(n.op, (ops.get(n.op) || 0) + 1);
  return h("section", { class: "card" }, h("h2", null, "What is in it"), h("div", { class: "body" },
    h("p", null, "Inputs: ", one.inputs.map((i) => h("span", { class: "chip" }, name(i.name), ` ${i.type}`))),
    h("p", { class: "chips" }, [...ops].sort((a, b) => b[1] - a[1]).map(([op, n]) => h("span", { class: "chip" }, h("b", null, cut(op, 60)), ` ${count(n)}`)))));
}

function rewriteCard(rewrites) {
  const groups = new Map();
  for (const r of rewrites) {
    const key = `${r.stage} ${r.rule}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(r);
  }
  const card = h("section", { class: "card", "data-testid": "rewrites" }, h("div", { class: "card-head" }, h("h2", null, "Rewrites"), h("p", { class: "muted small" }, "Each place where a rule fired: the nodes before, and what they became.")));
  [...groups.values()].sort((a, b) => b.length - a.length).forEach((group, k) => {
    const body = h("div");
    const draw = (to) => clear(body, group.slice(0, to).map(rewriteBox), group.length > to && h("button", { class: "more", onclick: () => draw(to + 100) }, `${count(group.length - to)} more`));
    const details = h("details", { class: "rule", open: k === 0, ontoggle: () => { if (details.open && !body.firstChild) draw(5); } },
      h("summary", null, h("b", null, group[0].rule.replaceAll("_", " ")), h("span", null, plural(group.length, "time")), h("span", { class: "muted mono small" }, group[0].source)), body);
    card.append(details);
  });
  return card;
}
function rewriteBox(r) {
  const side = (ids, lines, at, kind) => h("div", null, lines.length ? lines.map((text, i) => codeLine(at, ids[i], text, kind)) : h("p", { class: "muted small" }, kind === "add" ? "nothing: what stood before is not needed" : "nothing before"));
  return h("div", { class: "rewrite" }, side(r.before, r.before_lines, r.stage - 1, "del"), h("div", { class: "arrow", "aria-label": "became" }, "\u2192"), side(r.after, r.after_lines, r.stage, "add"));
}
function codeLine(at, id, text, kind) {
  const shown = tokens(text).map(([part, k]) => (k ? h("span", { class: k }, part) : part));
  const there = id !== undefined && stage(at).things.has(id);
  return there ? h("button", { class: `code-line ${kind}`, onclick: () => pick(at, id) }, shown) : h("span", { class: `code-line ${kind}` }, shown);
}
