// Why did that one not fire? All remarks, to be searched.
let remarkList = null;
function allRemarks() {
  remarkList ||= DOC.stages.flatMap((x) => x.remarks.map((r) => ({ ...r, stage: x.index })));
  return remarkList;
}
// a node is known to its reader by its name in the first stage: `average_pool1 (FusedConv of conv1)`
function originals(r) {
  if (!r.from) {
    let ids = new Set(r.id === null || r.id === undefined ? [] : [r.id]);
    const top = placeOf(r);
    for (let i = top; i > 0; i -= 1) ids = stepped(ids, i, i - 1);
    r.from = [...ids].map((id) => stage(0).byId.get(id)).filter((n) => n && n.name !== r.node).map((n) => n.name);
  }
  return r.from;
}
// a remark may be about a node that the pass itself replaced: then it is shown where it was
const placeOf = (r) => (stage(r.stage).things.has(r.id) ? r.stage : r.stage - 1);
function remarkChip(r) {
  const made = chip(placeOf(r), r.id), node = made && stage(placeOf(r)).things.get(r.id);
  if (!made) return h("span", { class: "chip" }, name(r.node));
  const of = originals(r);
  made.append(h("span", { class: "muted" }, ` (${node.op || "param"}${of.length ? ` of ${cut(of.slice(0, 3).join(", "), 60)}${of.length > 3 ? ", ..." : ""}` : ""})`));
  return made;
}
function grouped(remarks) {
  const groups = new Map();
  for (const r of remarks) {
    const key = `${r.stage}\n${r.rule}\n${r.condition}`;
    if (!groups.has(key)) groups.set(key, { ...r, nodes: [] });
    groups.get(key).nodes.push(r);
  }
  return [...groups.values()].sort((a, b) => b.nodes.length - a.nodes.length);
}
function remarkGroups(remarks, limit) {
  const box = h("div");
  const groups = grouped(remarks);
  const draw = (to) => clear(box, groups.slice(0, to).map(remarkGroup), groups.length > to && h("button", { class: "more", onclick: () => draw(to + 100) }, `${count(groups.length - to)} more conditions`));
  draw(limit);
  return box;
}
function remarkGroup(g) {
  const ids = g.nodes.filter((r) => r.id !== null && r.id !== undefined);
  const list = h("span", { class: "chips" });
  const draw = (to) => clear(list, ids.slice(0, to).map(remarkChip), ids.length > to && h("button", { class: "chip", onclick: () => draw(ids.length) }, `${ids.length - to} more`));
  draw(12);
  return h("div", { class: "why", "data-remark": g.rule }, h("div", null, h("b", null, g.rule.replaceAll("_", " ")), " did not fire on ", g.nodes.length === 1 ? "this node" : plural(g.nodes.length, "node"), ": ", h("b", null, h("bdi", null, g.condition)), h("span", { class: "muted small" }, ` \u2014 pass ${g.stage}, ${passName(title(g.stage))}`)), h("div", { style: { "margin-top": ".35rem" } }, ids.length ? list : g.nodes.slice(0, 12).map((r) => h("span", { class: "chip" }, name(r.node)))));
}

const wordsOf = (r) => (r.words ??= `${r.node} ${originals(r).join(" ")} ${r.rule} ${r.rule.replaceAll("_", " ")} ${r.condition} ${title(r.stage)}`.toLowerCase());

function remarksPage(now) {
  const sheet = h("div", { class: "sheet", "data-testid": "remarks" });
  const results = h("section", { class: "card" });
  const told = h("p", { class: "muted small", role: "status" });
  const rules = [...new Set(allRemarks().map((r) => r.rule))].sort();
  const field = h("input", { class: "field", type: "search", placeholder: "A node, a rule, or a part of the reason", "aria-label": "filter remarks", value: now.q || "" });
  const rule = h("select", { class: "select", "aria-label": "rule" }, h("option", { value: "" }, "every rule"), rules.map((r) => h("option", { value: r, selected: r === now.rule }, r.replaceAll("_", " "))));
  const draw = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = allRemarks().filter((r) => (!rule.value || r.rule === rule.value) && words.every((w) => wordsOf(r).includes(w)));
    told.textContent = `${plural(found.length, "remark")} of ${count(allRemarks().length)}`;
    clear(results, found.length ? remarkGroups(found, 60) : h("p", { class: "empty" }, allRemarks().length ? "No remark says that. A rule that fired, or that never looks at such a node, leaves none." : "No rule declined a node in these passes."));
  };
  const keep = () => { draw(); go({ q: field.value || null, rule: rule.value || null }, true); };
  field.addEventListener("input", keep);
  rule.addEventListener("change", keep);
  sheet.append(h("div", null, h("h1", null, "Why did that one not fire?"), h("p", { class: "lead" }, "A rule that looked at a node and left it alone says which of its conditions failed. Search for the node or the rule.")), h("div", { class: "filter" }, field, rule), told, results);
  draw();
  return h("div", { class: "scroll" }, sheet);
}
