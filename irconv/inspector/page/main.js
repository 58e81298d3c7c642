// The address names what is shown; everything else follows from it.
const DEFAULTS = { v: "overview", s: null, vs: null, as: "what", alone: false, colour: "change", n: null, layer: null, pic: null, kernel: null, q: null, rule: null };
let state = { ...DEFAULTS };
let drawn = null;
let unfoldedSteps = false;

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (given.has(key)) found[key] = given.get(key);
  const number = (text) => (text !== null && /^\d+$/.test(text) ? clamp(Number(text), 0, LAST) : null);
  found.vs = number(found.vs);
  found.s = number(found.s) ?? changedStages()[0] ?? LAST;
  found.alone = found.alone === "1";
  if (!["overview", "change", "remarks", "layers", "kernels"].includes(found.v)) found.v = "overview";
  if (!["what", "text", "graph"].includes(found.as)) found.as = "what";
  if (found.colour !== "change" && !Object.hasOwn(HEATS, found.colour)) found.colour = "change";
  const place = /^(\d+)\.(-?\d+)$/.exec(found.n || "");
  if (!place || Number(place[1]) > LAST || !stage(Number(place[1])).things.has(Number(place[2]))) found.n = null;
  return found;
}
function toAddress(wanted) {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(wanted)) {
    if (value === null || value === false || value === DEFAULTS[key]) continue;
    given.set(key, value === true ? "1" : value);
  }
  return `#${given}`;
}
function go(patch, quietly) {
  const next = { ...state, ...patch };
  if ("s" in patch && !("vs" in patch) && patch.s !== state.s && state.vs === state.s - 1) next.vs = null;
  const address = toAddress(next);
  if (quietly) { history_.replaceState(null, "", address); state = next; drawn = next; return; }
  if (address === location.hash) return;
  history_.pushState(null, "", address);
  render();
}
const history_ = window.history;

// a node was clicked: the panel opens, and its stage is shown if it is not in sight
function pick(index, id) {
  const from = state.vs ?? state.s - 1;
  const seen = state.v === "change" && (index === state.s || (index === from && !state.alone));
  const patch = { n: `${index}.${id}` };
  if (!seen) Object.assign(patch, { v: "change", s: index, vs: null, as: state.v === "change" && state.as !== "what" ? state.as : "graph" });
  else if (state.as === "what" && state.v === "change") patch.as = "what";
  go(patch);
}

function render() {
  const before = drawn;
  state = fromAddress();
  drawn = state;
  const key = (x) => x && JSON.stringify({ ...x, n: null });
  const samePage = before && key(before) === key(state);
  drawPanel();
  if (samePage) { const chosen = chosenOf(state); panes.forEach((p) => p.choose(chosen, true)); return; }
  drawSteps();
  for (const button of document.querySelectorAll(".views button")) {
    if (button.dataset.go === state.v) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  }
  panes = [];
  const main = document.querySelector(".main");
  clear(main, { overview: () => overview(), change: () => changePage(state), remarks: () => remarksPage(state), layers: () => layersPage(state), kernels: () => kernelsPage(state) }[state.v]());
}
function drawPanel() {
  document.querySelector(".panel")?.remove();
  const chosen = chosenOf(state);
  const box_ = chosen && panel(chosen);
  if (box_) document.querySelector(".shell").append(box_);
}

// -- the list of passes ---------------------------------------------------------------------------

function stepNote(x) {
  if (x.kind === "source") return `${plural(x.totals.nodes, "node")}`;
  if (x.kind !== "pass") return { program: "the emitted program", onnx: "exported", onnxruntime: "after onnxruntime's optimiser" }[x.kind] || x.kind;
  return passOptions(x.title) || Object.entries(x.delta || {}).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 2).map(([op, by]) => `${by > 0 ? "+" : "\u2212"}${Math.abs(by)} ${op}`).join(", ") || (x.changed ? "same ops" : "changed nothing");
}
function stepButton(x) {
  const same = x.kind === "pass" && !x.changed;
  const active = state.v === "change" && state.s === x.index;
  return h("li", null, h("button", { class: `step${same ? " same" : ""}${state.v === "change" && state.vs === x.index ? " compared" : ""}`, "aria-current": active ? "step" : null, "data-step": x.index, title: x.title, onclick: () => go({ v: "change", s: x.index, vs: null }) },
    h("span", { class: "number" }, x.index), h("span", { class: "step-name" }, passName(x.title)),
    h("span", { class: "count" }, badge(x), " ", x.matches ? `${count(x.matches)}\u00d7` : ""),
    h("span", { class: "step-note" }, stepNote(x))));
}
function drawSteps() {
  const side = document.querySelector(".side");
  const top = side.scrollTop, list = h("ol");
  for (let i = 0; i <= LAST; i += 1) {
    const x = DOC.stages[i], same = x.kind === "pass" && !x.changed;
    if (!same || unfoldedSteps || (state.v === "change" && state.s === i)) { list.append(stepButton(x)); continue; }
    let end = i;
    while (end < LAST && DOC.stages[end + 1].kind === "pass" && !DOC.stages[end + 1].changed && state.s !== end + 1) end += 1;
    const names = DOC.stages.slice(i, end + 1).map((y) => passName(y.title));
    list.append(h("li", null, h("button", { class: "fold-button", title: `${names.join(", ")}: changed nothing`, onclick: () => { unfoldedSteps = true; drawSteps(); } }, `${cut(names.join(", "), 24)}: no change`)));
    i = end;
  }
  const choice = h("select", { class: "select phone-only", "aria-label": "pass", onchange: (event) => go({ v: "change", s: Number(event.target.value), vs: null }) }, DOC.stages.map((x) => h("option", { value: String(x.index), selected: x.index === state.s }, cut(`${x.index}  ${x.title}${x.kind === "pass" && !x.changed ? " (no change)" : ""}`, 44))));
  clear(side, h("h2", null, "Passes"), list,
    h("button", { class: "tool phone-only", "aria-label": "previous pass", onclick: () => stepBy(-1) }, "\u2190"), choice, h("button", { class: "tool phone-only", "aria-label": "next pass", onclick: () => stepBy(1) }, "\u2192"));
  side.scrollTop = top;
  list.querySelector('[aria-current="step"]')?.scrollIntoView({ block: "nearest" });
}
// passes that changed nothing are stepped over, unless they are unfolded
function stepBy(by) {
  const stops = DOC.stages.filter((x) => unfoldedSteps || x.kind !== "pass" || x.changed).map((x) => x.index);
  const here = state.v === "change" ? state.s : by > 0 ? -1 : LAST + 1;
  const next = by > 0 ? stops.find((i) => i > here) : stops.reverse().find((i) => i < here);
  if (next !== undefined) go({ v: "change", s: next, vs: null });
}

// -- the frame ------------------------------------------------------------------------------------

const VIEWS = [["overview", "Overview"], ["change", "Passes"], ["remarks", "Remarks"], ["layers", "Layers"], ["kernels", "Kernels"]];
function frame() {
  const mark = s("svg", { viewBox: "0 0 22 22", "aria-hidden": "true" }, [0, 1, 2].flatMap((r) => [0, 1, 2].map((c) => s("rect", { x: 1 + c * 7, y: 1 + r * 7, width: 6, height: 6, rx: 1.4, fill: c === r ? "#0072b2" : c === r + 1 ? "#e69f00" : "#9aa6af66" }))));
  const theme = h("button", { class: "tool", title: "Light or dark", "aria-label": "light or dark", onclick: () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; for (const sheets of pictures) themed(sheets); redraw(); } }, "\u25d0");
  const top = h("header", { class: "top" }, h("button", { class: "brand", title: "irconv", onclick: () => go({ ...DEFAULTS, s: state.s }) }, mark, "irconv", h("bdi", null, cut(DOC.graph, 60))),
    h("nav", { class: "views", "aria-label": "pages" }, VIEWS.map(([key, label]) => h("button", { "data-go": key, onclick: () => go({ v: key, ...(key === "layers" ? { layer: null, pic: null } : {}), ...(key === "change" ? {} : { n: null }) }) }, label))),
    h("span", { class: "space" }),
    h("button", { class: "tool find", "aria-label": "search", onclick: search }, h("span", { class: "label" }, "Search"), h("span", { class: "phone-only" }, "\u2315"), h("kbd", null, "/")),
    theme, h("button", { class: "tool", title: "Keys (?)", "aria-label": "help", onclick: help }, "?"));
  clear(document.getElementById("app"), h("div", { class: "shell" }, top, h("nav", { class: "side", "aria-label": "passes" }), h("main", { class: "main" })));
}
function redraw() { drawn = null; render(); }

const KEYS = {
  j: () => stepBy(1), k: () => stepBy(-1), ArrowRight: () => stepBy(1), ArrowLeft: () => stepBy(-1),
  w: () => go({ v: "change", as: "what" }), t: () => go({ v: "change", as: "text" }), g: () => go({ v: "change", as: "graph" }),
  d: () => (state.v === "change" && state.as !== "what" ? go({ alone: !state.alone }) : go({ v: "change", as: "text", alone: false })),
  n: () => nextChange(1), p: () => nextChange(-1),
  o: () => go({ v: "overview", n: null }), r: () => go({ v: "remarks", n: null }), l: () => go({ v: "layers", n: null }),
  "/": search, "?": help,
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    if (closeVeil()) return;
    if (state.n) go({ n: null });
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector(".veil")) return;
  if (event.target.closest("input, select, textarea")) return;
  if (event.key.startsWith("Arrow") && event.target.closest(".scroller, .source, .drawing")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});
window.addEventListener("popstate", render);
window.addEventListener("hashchange", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

frame();
render();
