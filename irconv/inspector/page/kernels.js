// The source of the kernels, and the emitted program.
const kernelTitle = (key) => (DOC.kernels[key] && DOC.kernels[key].name) || key;
const PYTHON = /(#.*$)|("""[\s\S]*?"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|\b(def|return|for|in|if|elif|else|while|import|from|as|with|class|and|or|not|is|None|True|False|lambda|yield|assert|pass|break|continue|range)\b|(@[\w.]+)|\b(\d[\w.]*)\b/gm;

function highlighted(text) {
  const found = document.createDocumentFragment();
  let at = 0;
  for (const m of text.matchAll(PYTHON)) {
    if (m.index > at) found.append(text.slice(at, m.index));
    const kind = m[1] ? "t-note" : m[2] ? "t-text" : m[3] ? "t-word" : m[4] ? "t-attr" : "t-name";
    found.append(h("span", { class: kind }, m[0]));
    at = m.index + m[0].length;
  }
  found.append(text.slice(at));
  return found;
}

function kernelsPage(now) {
  const keys = Object.keys(DOC.kernels);
  if (!keys.length) return h("div", { class: "scroll" }, h("div", { class: "sheet" }, h("h1", null, "Kernels"), h("p", { class: "lead" }, "This report holds no emitted program.")));
  const key = now.kernel && DOC.kernels[now.kernel] ? now.kernel : keys[0];
  const users = kernelUsers();
  const nav = h("nav", { "aria-label": "kernels" }, keys.map((k) => h("button", { "aria-current": k === key ? "true" : null, onclick: () => go({ kernel: k, n: null }) }, name(kernelTitle(k)), users.get(k) && h("span", { class: "muted small" }, ` ${plural(users.get(k).length, "node")}`))));
  const source = h("pre", { class: "source", tabindex: 0, "data-testid": "source" }, "...");
  const kinds = h("span", { class: "segments" });
  const runs = users.get(key) || [];
  const head = h("div", { class: "bar-row" }, h("b", null, name(kernelTitle(key))), kinds, runs.length ? h("span", { class: "chips" }, h("span", { class: "muted small" }, "runs"), runs.slice(0, 24).map(([i, id]) => chip(i, id)), runs.length > 24 && h("span", { class: "muted small" }, `and ${runs.length - 24} more`)) : null);
  piece("kernel-sources").then(async (all) => {
    const texts = Object.entries(all[key] || {}).filter(([k, v]) => k !== "name" && v && (typeof v === "string" || v.gzip || v.data));
    const show = async (kind, value) => {
      const text = typeof value === "string" ? value : await inflate(value.gzip || value.data);
      clear(source, kind === "python" || kind === "source" ? highlighted(text) : text);
      for (const b of kinds.children) b.setAttribute("aria-pressed", b.dataset.kind === kind ? "true" : "false");
    };
    if (texts.length > 1) kinds.append(...texts.map(([k, v]) => h("button", { "data-kind": k, onclick: () => show(k, v) }, { python: "Python", llvm: "LLVM IR", asm: "assembly" }[k] || k)));
    kinds.hidden = texts.length < 2;
    if (texts.length) await show(...(texts.find(([k]) => k === "python") || texts[0]));
    else source.textContent = "The source of this kernel is not in the report.";
  });
  return h("div", { class: "split", "data-testid": "kernels" }, nav, h("div", { class: "fill" }, head, source));
}
let kernelUsed = null;
function kernelUsers() {
  if (!kernelUsed) {
    kernelUsed = new Map();
    for (let i = 0; i <= LAST; i += 1) for (const n of stage(i).nodes) {
      if (n.kernel === null || n.kernel === undefined) continue;
      if (!kernelUsed.has(n.kernel)) kernelUsed.set(n.kernel, []);
      kernelUsed.get(n.kernel).push([i, n.id]);
    }
  }
  return kernelUsed;
}
