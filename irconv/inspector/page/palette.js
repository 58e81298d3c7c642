// Search over everything, and the help.
let index_ = null;
function searchIndex() {
  if (index_) return index_;
  const items = [], nodes = new Map();
  for (let i = 0; i <= LAST; i += 1) for (const n of [...stage(i).nodes, ...stage(i).parameters]) {
    const known = nodes.get(n.id);
    if (known) known.last = i;
    else nodes.set(n.id, { kind: n.op || "param", text: n.name, first: i, last: i, id: n.id, order: n.op ? 1 : 4 });
  }
  DOC.stages.forEach((x) => items.push({ kind: x.kind === "pass" ? "pass" : "stage", text: x.title, order: 0, where: x.kind === "pass" && !x.changed ? "changed nothing" : "", go: () => go({ v: "change", s: x.index, vs: null, n: null }) }));
  const rules = new Map();
  for (let i = 0; i <= LAST; i += 1) for (const [rule, n] of Object.entries(stage(i).rules || {})) rules.set(`${i} ${rule}`, { kind: "rule", text: rule, order: 2, where: `${plural(n, "time")} in ${passName(title(i))}`, go: () => go({ v: "change", s: i, vs: null, as: "what", n: null }) });
  items.push(...rules.values());
  for (const [id, layer] of Object.entries(DOC.layers)) items.push({ kind: "layer", text: layer.title, order: 2, where: "pictures", go: () => go({ v: "layers", layer: id, pic: null, n: null }) });
  for (const key of Object.keys(DOC.kernels)) items.push({ kind: "kernel", text: kernelTitle(key), order: 3, where: "source", go: () => go({ v: "kernels", kernel: key, n: null }) });
  for (const g of grouped(allRemarks())) items.push({ kind: "remark", text: `${g.rule}: ${g.condition}`, order: 3, where: plural(g.nodes.length, "node"), go: () => go({ v: "remarks", q: g.condition, rule: g.rule, n: null }) });
  for (const n of nodes.values()) items.push({ ...n, where: n.first === n.last ? `stage ${n.first}` : `stages ${n.first}\u2013${n.last}`, go: () => { const at = clamp(state.s, n.first, n.last); go({ v: "change", s: at, vs: null, as: state.as === "what" ? "graph" : state.as, n: `${at}.${n.id}` }); } });
  for (const item of items) item.low = `${item.text} ${item.kind}`.toLowerCase();
  index_ = items;
  return items;
}
function matches(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return searchIndex().filter((x) => x.order === 0);
  const whole = text.toLowerCase().trim(), found = [];
  for (const item of searchIndex()) {
    if (!words.every((w) => item.low.includes(w))) continue;
    const own = item.text.toLowerCase();
    const rank = own === whole ? 0 : own.startsWith(whole) ? 1 : own.includes(whole) ? 2 : 3;
    found.push([rank * 10 + item.order, item]);
  }
  return found.sort((a, b) => a[0] - b[0] || a[1].text.length - b[1].text.length).slice(0, 60).map(([, item]) => item);
}

function veil(inner) {
  closeVeil();
  const back = document.activeElement;
  const element = h("div", { class: "veil", onpointerdown: (event) => { if (event.target === element) closeVeil(); } }, inner);
  element.back = back;
  document.body.append(element);
  return element;
}
function closeVeil() {
  const element = document.querySelector(".veil");
  if (!element) return false;
  element.remove();
  if (element.back && element.back.isConnected) element.back.focus({ preventScroll: true });
  return true;
}
function search() {
  let found = [], at = 0;
  const list = h("ul", { role: "listbox" });
  const field = h("input", { type: "text", placeholder: "A node, an op, a pass, a rule, a kernel", "aria-label": "search", autocomplete: "off", spellcheck: "false" });
  const mark = () => { [...list.children].forEach((li, i) => li.setAttribute("aria-selected", i === at ? "true" : "false")); list.children[at]?.scrollIntoView({ block: "nearest" }); };
  const choose = (i) => { const item = found[i]; if (item) { closeVeil(); item.go(); } };
  const draw = () => {
    found = matches(field.value); at = 0;
    clear(list, found.map((x, i) => h("li", { role: "option", onclick: () => choose(i) }, h("span", { class: "kind" }, cut(x.kind, 12)), h("bdi", null, cut(x.text, 140)), h("span", { class: "where" }, x.where || ""))), !found.length && h("p", { class: "empty" }, "Nothing is called that."));
    mark();
  };
  field.addEventListener("input", draw);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { at = clamp(at + (event.key === "ArrowDown" ? 1 : -1), 0, Math.max(0, found.length - 1)); mark(); event.preventDefault(); }
    if (event.key === "Enter") choose(at);
  });
  veil(h("div", { class: "palette", role: "dialog", "aria-label": "search" }, field, list));
  draw();
  field.focus();
}
function help() {
  const rows = [["j  k", "next, previous pass (also the arrows right and left)"], ["w  t  g", "what changed, the text, the graph"], ["d", "compare with the stage before, or not"], ["n  p", "next, previous change"], ["/", "search nodes, ops, passes, rules, kernels"], ["o  r  l", "overview, remarks, layers"], ["Esc", "close what is open"], ["?", "this list"]];
  const close = h("button", { class: "tool", onclick: closeVeil }, "Close");
  veil(h("div", { class: "palette", role: "dialog", "aria-label": "keys" }, h("div", { style: { padding: "1.1rem 1.3rem 0" } }, h("h2", null, "Keys")), h("div", { class: "keys" }, rows.map(([keys, what]) => [h("span", null, keys.split("  ").map((k) => [h("kbd", null, k), " "])), h("span", null, what)])), h("p", { class: "muted small", style: { padding: "0 1.3rem" } }, "Click a node to see what it was made from and what became of it. The address of the page names the stage and the node: copy it to show someone."), h("div", { style: { padding: ".2rem 1.3rem 1.3rem" } }, close)));
  close.focus();
}
