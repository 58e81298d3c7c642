// The layers as pictures. Hovering one weight, output or input lights all its places in all of them.
const hotSheet = () => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
:host { display: block; }
    svg { max-width: max(100%, .6 * var(--own, 0px)); height: auto; }
    @media (max-width: 860px) { svg { max-width: max(100%, .85 * var(--own, 0px)); } }
    svg.linked [data-w]:not(.hot), svg.linked [data-b]:not(.hot) { opacity: .3; }
    rect.hot, circle.hot { paint-order: stroke; }`);
  return sheet;
};
let linkStyle = null, viewStyle = null;
const VIEW_STYLE = () => (viewStyle ??= read("view-style"));

function layersPage(now) {
  const ids = Object.keys(DOC.layers);
  if (!ids.length) return h("div", { class: "scroll" }, h("div", { class: "sheet" }, h("h1", null, "Layers"), h("p", { class: "lead" }, "No convolution of this model is drawn in this report.")));
  const id = now.layer !== null && DOC.layers[now.layer] ? String(now.layer) : null;
  if (id === null) return layerTable(ids);
  return layerPage(id, now);
}

function layerTable(ids) {
  const one = stage(0);
  const sees = ids.some((id) => DOC.layers[id].sight);
  const drawnFirst = [...ids].sort((a, b) => (DOC.layers[b].names.length > 0) - (DOC.layers[a].names.length > 0));
  const body = h("tbody", null, drawnFirst.map((id) => {
    const layer = DOC.layers[id], node = one.byId.get(Number(id)), f = layer.facts || {};
    return h("tr", { class: `go${layer.names.length ? "" : " same"}`, "data-layer": id, onclick: () => go({ layer: id }) }, h("td", null, h("button", null, name(layer.title)), layer.names.length ? "" : h("span", { class: "small" }, "  numbers only")), h("td", { class: "mono" }, node ? `${node.op} ${kernelShape(node)}` : ""), h("td", { class: "mono" }, node ? node.type : ""), h("td", { class: "num" }, f.free_weights !== undefined ? short(f.free_weights) : ""), h("td", { class: "num" }, f.density !== undefined ? percent(1 - f.density, 1) : ""), sees && h("td", { class: "num" }, layer.sight ? sightText(layer.sight) : ""), sees && h("td", { class: "num" }, layer.sight ? layer.sight.step.join("\u00d7") : ""), h("td", { class: "num" }, node ? short(node.macs) : ""));
  }));
  return h("div", { class: "scroll" }, h("div", { class: "sheet", "data-testid": "layers" }, h("div", null, h("h1", null, "Layers"), h("p", { class: "lead" }, "Each convolution as what it is: one matrix, its weights shared, many of its entries fixed zeros. Drawn from its own sizes and weights.", sees && " Sees: how many pixels of the input one neuron is computed from, away from the border; step: how far on the next neuron's lie.", RANDOM_WEIGHTS && " The weights are random: nobody trained this network.")), h("section", { class: "card table-wrap" }, h("table", null, h("thead", null, h("tr", null, ["layer", "op", "result"].map((t) => h("th", null, t)), h("th", { class: "num" }, "free weights"), h("th", { class: "num" }, "fixed zeros"), sees && h("th", { class: "num" }, "sees"), sees && h("th", { class: "num" }, "step"), h("th", { class: "num" }, "multiply-adds"))), body))));
}

// `5\u00d75`; what one neuron is computed from in the input
const sightText = (sight) => `${sight.exact ? "" : "\u2264 "}${sight.size.join("\u00d7")}${sight.whole ? " (all)" : ""}`;
const kernelShape = (node) => (/kernel_shape = \[([\d, ]+)\]/.exec(node.attributes)?.[1] || "").replaceAll(", ", "\u00d7");
const viewLabel = (text) => text[0].toUpperCase() + text.slice(1).replaceAll("_", " ");
const QUESTION_OF = { matrix: "What is shared? What is zero?", dense_network: "What is zero?", receptive_field: "How far does it see?", filters: "What does it find?" };

function layerPage(id, now) {
  const layer = DOC.layers[id], ids = Object.keys(DOC.layers), at = ids.indexOf(id);
  const node = stage(0).byId.get(Number(id));
  const sheet = h("div", { class: "sheet", "data-testid": "layer" });
  const choose = h("select", { class: "select", "aria-label": "layer", onchange: (event) => go({ layer: event.target.value }) }, ids.map((i) => h("option", { value: i, selected: i === id }, cut(DOC.layers[i].title, 60))));
  sheet.append(h("div", null, h("div", { class: "filter" }, h("button", { class: "tool", onclick: () => go({ layer: null, pic: null }) }, "All layers"), choose,
    at > 0 && h("button", { class: "tool", "aria-label": "previous layer", onclick: () => go({ layer: ids[at - 1] }) }, "\u2190"), at + 1 < ids.length && h("button", { class: "tool", "aria-label": "next layer", onclick: () => go({ layer: ids[at + 1] }) }, "\u2192"),
    node && h("button", { class: "tool", onclick: () => pick(0, node.id) }, "In the graph")),
    h("h1", { style: { "margin-top": ".8rem" } }, name(layer.title)), node && h("p", { class: "muted mono small" }, `${node.op} ${node.attributes} : ${node.type}`), RANDOM_WEIGHTS && h("p", { class: "muted small" }, "Its weights are random: nobody trained this network.")));
  if (layer.facts) sheet.append(factsCard(layer.facts, layer.sight));
  const nav = h("div", { class: "view-nav" });
  const grid = h("div", { class: "views-grid" }, h("p", { class: "muted" }, "..."));
  nav.append(h("span", { class: "muted small" }, "..."));
  const note = h("p", { class: "hover-note", role: "status", hidden: true });
  // the bar stays in sight above the pictures, and what is pointed at below them
  sheet.append(h("div", { class: "views-part" }, nav, grid, note));
  const scroll = h("div", { class: "scroll" }, sheet);
  piece(`layer-${layer.chunk}`).then((views) => {
    if (!views.length) { clear(grid, h("p", { class: "muted" }, "This layer is not drawn here: a report draws some layers of each kind. ", h("code", null, `--layers ${layer.title}`), " draws it.")); return; }
    const boxes = views.map(viewBox);
    clear(grid, boxes);
    clear(note, "Point at a weight, an output or an input: all its places light up.").hidden = false;
    clear(nav, h("div", { class: "view-chips", role: "navigation", "aria-label": "views" }, views.map((v, i) => h("button", { "data-view": v.name, onclick: () => { go({ pic: v.name }, true); boxes[i].scrollIntoView({ block: "start" }); } }, viewLabel(v.name)))));
    boxes.forEach((b) => { b.style.scrollMarginTop = `${nav.offsetHeight + 8}px`; });
    drawWhenSeen(boxes, views, scroll);
    linkHover(grid, note);
    const wanted = views.findIndex((v) => v.name === now.pic);
    if (wanted > 0) { for (const k of boxes.keys()) if (k <= wanted) drawView(boxes[k], views[k]); boxes[wanted].scrollIntoView({ block: "start" }); }
  });
  return scroll;
}

function factsCard(f, sight) {
  const box_ = h("section", { class: "facts" });
  const put = (value, what, text, note) => { if (value !== null && value !== undefined) box_.append(fact(what, text, note)); };
  const places = f.places && (f.places[0] === f.places[1] ? count(f.places[0]) : `${count(f.places[0])}\u2013${count(f.places[1])}`);
  put(f.rows, "Its matrix", `${short(f.rows)} \u00d7 ${short(f.columns)}`, "outputs \u00d7 inputs, of one image");
  put(f.free_weights, "Free weights", count(f.free_weights), `a dense layer has ${short(f.rows * f.columns)}`);
  put(places, "Shared", `${places} places`, "at which each weight stands");
  put(f.fixed_zeros, "Fixed zeros", percent(f.fixed_zeros, f.rows * f.columns), `${short(f.fixed_zeros)} of ${short(f.rows * f.columns)} entries`);
  put(sight, "One neuron sees", sight && sightText(sight), sight && `pixels of the input, the next one ${sight.step.join("\u00d7")} further on`);
  put(f.diagonals, "Non-zero diagonals", count(f.diagonals), "what it costs under homomorphic encryption");
  const bar = (f.crossbars || [])[0];
  put(bar, "Crossbar tiles", bar && `${count(bar.tiles)} of ${count(bar.all_tiles)}`, bar && `of ${bar.rows} \u00d7 ${bar.columns}${bar.tiles < bar.all_tiles ? ", the others are all zeros" : ""}; ${percent(bar.use, 1)} of their cells used`);
  put(f.spectral_norm, "Spectral norm", f.spectral_norm && String(Number(f.spectral_norm.toPrecision(4))), "the most it stretches an image");
  put(f.rank, "Rank", f.rank && count(f.rank), f.condition ? `condition ${Number(Number(f.condition).toPrecision(3))}` : "");
  put(f.adjoint, "Adjoint test", error(f.adjoint), "<Wx, y> against <x, W\u2032y>");
  return box_;
}

function viewBox(view) {
  return h("section", { class: "card view", "data-view": view.name },
    h("figure", null, h("div", { class: "card-head" }, h("h2", null, view.title), QUESTION_OF[view.name] && h("span", { class: "muted small" }, QUESTION_OF[view.name])), h("div", { class: "drawing", style: { "min-height": "8rem" } }), h("figcaption", null, h("bdi", null, view.caption))));
}
function drawWhenSeen(boxes, views, root) {
  const watch = new IntersectionObserver((seen) => {
    for (const entry of seen) if (entry.isIntersecting) { const k = boxes.indexOf(entry.target); drawView(boxes[k], views[k]); watch.unobserve(entry.target); }
  }, { root, rootMargin: "600px" });
  boxes.forEach((box_) => watch.observe(box_));
}
function drawView(box_, view) {
  if (box_.dataset.drawn) return;
  box_.dataset.drawn = "yes";
  const host = h("div", { class: "svg-host" });
  const styles = [view.style || VIEW_STYLE()];
  // a style element would be refused by the page's policy: its text becomes a sheet of the picture
  const bare_ = view.svg.replace(/<style[^>]*>([\s\S]*?)<\/style>/g, (_, text) => { styles.push(text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")); return ""; });
  const parsed = new DOMParser().parseFromString(bare_, "image/svg+xml");
  if (parsed.querySelector("parsererror")) { box_.querySelector(".drawing").textContent = "This picture cannot be read."; return; }
  const sheets = styles.map((text) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(text); return sheet; });
  const picture = document.importNode(tamed(parsed.documentElement), true);
  const root = host.attachShadow({ mode: "open" });
  linkStyle ||= hotSheet();
  root.adoptedStyleSheets = [...sheets, linkStyle];
  root.append(picture);
  // a picture that is much wider than the page is scrolled, not made so small that nobody reads it
  const own = parseFloat(picture.getAttribute("width"));
  if (own > 0) picture.style.setProperty("--own", `${own}px`);
  themed(sheets);
  pictures.add(sheets);
  box_.querySelector(".drawing").style.removeProperty("min-height");
  box_.querySelector(".drawing").append(host);
}
// our own pictures; still, nothing in them may run or load
function tamed(root) {
  for (const element of [root, ...root.querySelectorAll("*")]) {
    if (/^(script|foreignObject|iframe|a|use)$/i.test(element.localName) && !(element.localName === "use")) { element.remove(); continue; }
    for (const { name: key, value } of [...element.attributes]) {
      const link = /href$/i.test(key) && !/^(#|data:image\/(png|jpeg);)/i.test(value.trim());
      if (/^on/i.test(key) || link) element.removeAttribute(key);
    }
  }
  return root;
}
// a picture follows the page's theme, not only the system's
const pictures = new Set();
function themed(sheets) {
  const theme = document.documentElement.dataset.theme;
  for (const sheet of sheets) for (const rule of sheet.cssRules) {
    if (!(rule instanceof CSSMediaRule)) continue;
    rule.wanted ||= /prefers-color-scheme:\s*(dark|light)/.exec(rule.conditionText)?.[1];
    const kept = (themed.kept ||= new WeakMap());
    if (!kept.has(rule)) kept.set(rule, rule.conditionText);
    const dark = /prefers-color-scheme:\s*dark/.test(kept.get(rule)), light = /prefers-color-scheme:\s*light/.test(kept.get(rule));
    if (dark || light) rule.media.mediaText = theme ? ((theme === "dark") === dark ? "all" : "not all") : kept.get(rule);
  }
}

function linkHover(grid, note) {
  let lit = [], key = "";
  const kinds = [["w", "weight"], ["b", "bias"], ["o", "output"], ["i", "input"]];
  const roots = () => [...grid.querySelectorAll(".svg-host")].map((x) => x.shadowRoot);
  const off = () => { roots().forEach((r) => r.firstElementChild?.classList.remove("linked")); lit.forEach((e) => e.classList.remove("hot")); lit = []; key = ""; };
  const on = (event) => {
    const target = event.composedPath().find((e) => e.dataset && kinds.some(([k]) => k in e.dataset));
    if (!target) { if (event.type === "pointerdown") off(); return; }
    const [kind, label] = kinds.find(([k]) => k in target.dataset);
    const value = target.dataset[kind], next = `${kind}${value}`;
    if (next === key) return;
    off();
    key = next;
    const wanted = `[data-${kind}="${CSS.escape(value)}"]`;
    for (const root of roots()) lit.push(...root.querySelectorAll(wanted));
    lit.forEach((e) => e.classList.add("hot"));
    if (kind === "w" || kind === "b") roots().forEach((r) => r.firstElementChild?.classList.add("linked"));
    note.textContent = `${label} ${value}${target.dataset.v !== undefined ? ` = ${Number(target.dataset.v).toPrecision(6)}` : ""}: ${plural(lit.length, "place")} on this page`;
  };
  grid.addEventListener("pointerover", on);
  grid.addEventListener("pointerdown", on);
  grid.addEventListener("pointerleave", off);
}
