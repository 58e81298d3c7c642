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

// `blocked.convolve.convolve(int64*, float32*)` is short without its types
const kernelShort = (key) => { const text = kernelTitle(key); const at = text.indexOf("("); return cut(at > 0 ? text.slice(0, at) : text, 70); };

function kernelsPage(now) {
  const users = kernelUsers();
  const uses = (k) => (users.get(k) || []).length;
  const keys = Object.keys(DOC.kernels).sort((a, b) => uses(b) - uses(a));
  if (!keys.length) return h("div", { class: "scroll" }, h("div", { class: "sheet" }, h("h1", null, "Kernels"), h("p", { class: "lead" }, "This report holds no emitted program.")));
  const key = now.kernel && DOC.kernels[now.kernel] ? now.kernel : keys[0];
  const entry = (k) => h("button", { "aria-current": k === key ? "true" : null, "data-kernel": k, title: kernelTitle(k), onclick: () => go({ kernel: k, n: null }) }, name(kernelShort(k)), uses(k) > 0 && h("span", { class: "muted small" }, ` ${plural(uses(k), "node")}`));
  const helpers = keys.filter((k) => !uses(k));
  const nav = h("nav", { "aria-label": "kernels" }, keys.filter(uses).map(entry), helpers.length > 0 && h("h3", { class: "muted hide-phone", style: { padding: ".9rem .6rem .3rem" } }, "What they call"), helpers.map(entry));
  const source = h("pre", { class: "source", tabindex: 0, "data-testid": "source" }, "...");
  const kinds = h("span", { class: "segments" });
  const runs = users.get(key) || [];
  const called = keys.filter((k) => (DOC.kernels[k].calls || []).includes(key));
  const others = (what, list) => (list.length ? h("span", { class: "chips" }, h("span", { class: "muted small" }, what), list.map((k) => h("button", { class: "chip", onclick: () => go({ kernel: k, n: null }) }, name(kernelShort(k))))) : null);
  const head = h("div", { class: "bar-row" }, h("b", { style: { "flex-basis": "100%" } }, name(kernelTitle(key))), kinds, others("called by", called), others("calls", (DOC.kernels[key].calls || []).filter((k) => DOC.kernels[k])), runs.length ? h("span", { class: "chips" }, h("span", { class: "muted small" }, "runs"), runs.slice(0, 24).map(([i, id]) => chip(i, id)), runs.length > 24 && h("span", { class: "muted small" }, `and ${runs.length - 24} more`)) : null);
  piece("kernel-sources").then(async (all) => {
    const texts = Object.entries(all[key] || {}).filter(([k, v]) => ["python", "llvm", "asm"].includes(k) && typeof v === "string" && v);
    const show = async (kind, value) => {
      const text = kind === "python" ? value : await inflate(value, "deflate");
      clear(source, kind === "python" ? highlighted(text) : text);
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
      for (const key of n.kernels || (n.kernel ? [n.kernel] : [])) {
        if (!kernelUsed.has(key)) kernelUsed.set(key, []);
        kernelUsed.get(key).push([i, n.id]);
      }
    }
  }
  return kernelUsed;
}
