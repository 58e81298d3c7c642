// The node that was clicked: what it is, what it was made from and what became of it, up to its kernel.
function panel(chosen) {
  const owner = stage(chosen.stage), node = owner.things.get(chosen.id);
  if (!node) return null;
  const box = h("aside", { class: "panel", "aria-label": "node", "data-testid": "panel" });
  box.append(h("header", null,
    h("div", null, h("div", { class: "muted small" }, `${node.op || "parameter"} in stage ${chosen.stage}, ${title(chosen.stage)}`), h("h2", null, name(node.name))),
    h("button", { class: "close", "aria-label": "close", title: "Close (Esc)", onclick: () => go({ n: null }) }, "\u00d7")));
  box.append(facts(node, owner));
  const doors = [];
  const kernel = kernelOf(chosen.stage, chosen.id);
  if (kernel) doors.push(h("button", { class: "wide", "data-testid": "to-kernel", onclick: () => go({ v: "kernels", kernel: kernel.key, s: kernel.stage, n: `${kernel.stage}.${kernel.id}` }) }, "Its kernel: ", name(kernelShort(kernel.key))));
  const layer = layerOf(chosen.stage, chosen.id);
  if (layer !== null) doors.push(h("button", { class: "wide", "data-testid": "to-layer", onclick: () => go({ v: "layers", layer, n: null }) }, "Pictures of this layer"));
  if (doors.length) box.append(h("section", null, doors));
  box.append(h("section", null, h("h3", null, "Through all stages"), history(chosen)));
  const remarks = remarksOf(chosen);
  if (remarks.length) box.append(h("section", null, h("h3", null, "Rules that looked and declined"), remarks.map(remarkLine)));
  const rewrites = rewritesOf(chosen);
  if (rewrites.length) box.append(h("section", null, h("h3", null, "Rewrites"), rewrites.slice(0, 12).map(([i, r]) => rewriteLine(i, r)), rewrites.length > 12 && h("p", { class: "muted small" }, `and ${rewrites.length - 12} more`)));
  return box;
}

function facts(node, owner) {
  const list = h("dl", { class: "props" });
  const put = (what, ...value) => list.append(h("dt", null, what), h("dd", null, ...value));
  put("type", h("span", { class: "mono" }, node.type || "-"));
  for (const part of attributes(node.attributes || "")) put(...part);
  if (node.macs) put("multiply-adds", short(node.macs), h("span", { class: "muted" }, ` (${percent(node.macs, owner.totals.macs)} of all)`));
  if (node.bytes) put("bytes moved", bytes(node.bytes));
  if (node.free) put("free weights", count(node.free));
  if (node.error !== null && node.error !== undefined) put("error", `${error(node.error)} against float64`);
  const from = [...(node.inputs || []), ...(node.parameters || [])];
  if (from.length) put("reads", chips(owner.index, from));
  const users = [...(owner.users.get(node.id) || [])];
  if (users.length) put("read by", chips(owner.index, users));
  return list;
}

// `a = 1, b = [2, 3], c = Op{d = 4}` in its parts
function attributes(text) {
  const parts = [];
  let depth = 0, from = 0;
  for (let i = 0; i <= text.length; i += 1) {
    if ("[{(".includes(text[i])) depth += 1;
    else if ("]})".includes(text[i])) depth -= 1;
    if ((i === text.length || (text[i] === "," && depth === 0)) && i > from) {
      const [key, ...rest] = text.slice(from, i).trim().split(" = ");
      parts.push(rest.length ? [key, h("span", { class: "mono" }, rest.join(" = "))] : ["", h("span", { class: "mono" }, key)]);
      from = i + 1;
    }
  }
  return parts;
}

function chip(index, id, withOp) {
  const thing = stage(index).things.get(id);
  if (!thing) return null;
  return h("button", { class: "chip", "data-chip": `${index}.${id}`, onclick: () => pick(index, id) }, withOp && h("b", null, `${thing.op || "param"} `), name(cut(thing.name, 60)));
}
function chips(index, ids, withOp, limit = 8) {
  const box = h("span", { class: "chips" });
  const show = (all) => {
    clear(box, ids.slice(0, all ? ids.length : limit).map((id) => chip(index, id, withOp)));
    if (!all && ids.length > limit) box.append(h("button", { class: "chip", onclick: () => show(true) }, `${ids.length - limit} more`));
  };
  show(false);
  return box;
}

// one entry for each run of stages in which the same nodes stand for it
function history(chosen) {
  const runs = [];
  for (let i = 0; i <= LAST; i += 1) {
    const ids = kin(chosen.stage, chosen.id, i);
    const key = ids.map((id) => `${id} ${stage(i).things.get(id).op}`).join();
    const last = runs[runs.length - 1];
    if (last && last.key === key) last.to = i;
    else runs.push({ key, ids, from: i, to: i });
  }
  return h("ol", { class: "trail" }, runs.map((run) => {
    const here = chosen.stage >= run.from && chosen.stage <= run.to;
    const at = here ? chosen.stage : run.from;
    const label = run.from === run.to ? `${run.from} ${title(run.from)}` : `${run.from} ${passName(title(run.from))} \u2013 ${run.to} ${passName(title(run.to))}`;
    return h("li", { class: here ? "here" : null }, h("span", { class: "at" }, label),
      run.ids.length ? h("span", { class: "chips" }, chips(at, run.ids, true)) : h("span", { class: "chips muted small" }, run.from > chosen.stage ? "gone: nothing stands for it" : "not there yet"));
  }));
}

function remarksOf(chosen) {
  return allRemarks().filter((r) => r.id !== null && r.id !== undefined && (
    trail(chosen.stage, chosen.id)[r.stage].has(r.id) || trail(chosen.stage, chosen.id)[r.stage - 1]?.has(r.id)));
}
function remarkLine(r) {
  return h("p", { class: "small" }, h("b", null, r.rule), ` in ${passName(title(r.stage))}: `, h("bdi", null, r.condition), ".");
}
function rewritesOf(chosen) {
  const found = [];
  const way = trail(chosen.stage, chosen.id);
  for (let i = 1; i <= LAST; i += 1) {
    for (const r of stage(i).rewrites) {
      const mine = way[i], before = way[i - 1];
      if (r.after.some((id) => mine.has(id) && !before.has(id)) || r.before.some((id) => before.has(id) && !mine.has(id))) found.push([i, r]);
    }
  }
  return found;
}
function rewriteLine(index, r) {
  return h("p", { class: "small" }, h("b", null, r.rule), ` in ${passName(title(index))} `, h("span", { class: "muted mono" }, r.source),
    h("button", { class: "chip", onclick: () => go({ v: "change", s: index, vs: null, as: "what" }) }, "see"));
}
