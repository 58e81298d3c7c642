// The listing of a stage, or of two side by side, wrapped at good places to a known number of rows.
const LINE = 18;
const TOKEN = /(%"(?:[^"\\]|\\.)*"|%[\w.\/$?-]+)|("(?:[^"\\]|\\.)*")|(\{.*?\}(?= : |$))|( : .*$)|\b(graph|param|const)\b|([A-Za-z_]\w*)(?=\()/g;

function tokens(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > at) found.push([text.slice(at, match.index), ""]);
    const kind = match[1] ? "t-name" : match[2] ? "t-text" : match[3] ? "t-attr" : match[4] ? "t-type" : match[5] ? "t-word" : "t-op";
    found.push([match[0], kind]);
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push([text.slice(at), ""]);
  return found;
}

// where the line is broken, so that no piece has more than `columns` characters
function breaks(text, columns) {
  const found = [0];
  let from = 0, room = columns;
  while (text.length - from > room) {
    let at = text.lastIndexOf(" ", from + room);
    at = at > from + room / 3 ? at + 1 : from + room;
    found.push(at);
    from = at; room = Math.max(8, columns - 4);
  }
  return found;
}

let probe = null;
function columnWidth() {
  if (!probe) {
    probe = h("span", { style: { position: "fixed", top: "0", visibility: "hidden", font: "12.5px/18px var(--mono)", "white-space": "pre" } }, "0".repeat(100));
    document.body.append(probe);
  }
  return probe.getBoundingClientRect().width / 100 || 7.5;
}

// the part of two lines that differs, in whole words
function differing(a, b) {
  const stop = /[\s,()={}\[\]:]/;
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  while (start > 0 && !stop.test(a[start - 1])) start -= 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  while (end > 0 && !stop.test(a[a.length - end])) end -= 1;
  return { start, end };
}

const MARKS = { add: "+", del: "\u2212", chg: "~", mov: "\u2195", same: "" };

function cell(entry, side, owner, columns, range) {
  if (!entry) return h("div", { class: "cell none" });
  const state = entry.state || "same";
  const thing = entry.id !== null ? owner.things.get(entry.id) : null;
  const body = h("div");
  const cuts = [...breaks(entry.text, columns), entry.text.length];
  let line = 0, at = 0;
  const put = (text, kind, marked) => {
    let rest = text;
    while (rest) {
      const room = cuts[line + 1] - at, part = rest.slice(0, room);
      const known = kind === "t-name" && owner.byName.get(bare(text));
      const element = kind || marked ? h(marked ? "em" : "span", { class: kind || null }, part) : part;
      if (known) element.dataset.id = known.id;
      body.append(element);
      rest = rest.slice(room); at += part.length;
      if (at >= cuts[line + 1] && line + 2 < cuts.length) { line += 1; body.append("\n    "); }
    }
  };
  let offset = 0;
  for (const [text, kind] of tokens(entry.text)) {
    const stops = [0, text.length];
    if (range) for (const edge of [range.start, entry.text.length - range.end]) {
      if (edge > offset && edge < offset + text.length) stops.push(edge - offset);
    }
    stops.sort((x, y) => x - y);
    for (let k = 0; k + 1 < stops.length; k += 1) {
      const from = offset + stops[k];
      const marked = range && from >= range.start && from < entry.text.length - range.end;
      put(text.slice(stops[k], stops[k + 1]), kind, marked);
    }
    offset += text.length;
  }
  return h("div", {
    class: `cell ${state}${thing ? " node" : ""}`, "data-stage": owner.index,
    "data-node": thing ? thing.id : null, "data-side": side,
  }, h("span", { class: "mark", "aria-label": STATE_NAMES[state] }, MARKS[state]), body);
}
const bare = (text) => text.slice(1).replace(/^"|"$/g, "");
const STATE_NAMES = { add: "added", del: "removed", chg: "changed", mov: "moved", same: "unchanged" };
const KEEP = 3; // unchanged lines that stay beside a change

function parameterLabel(rows) {
  const tally = { add: 0, del: 0, chg: 0, mov: 0 };
  for (const row of rows) for (const entry of row.state === "pair" ? [row.a, row.b] : [row.b || row.a]) if (entry.state in tally) tally[entry.state] += 1;
  const told = Object.entries(tally).filter(([, n]) => n).map(([state_, n]) => `${count(n)} ${STATE_NAMES[state_]}`);
  return `${plural(rows.length, "parameter")}${told.length ? `: ${told.join(", ")}` : ""}`;
}

class TextPane {
  constructor(place, pick) {
    this.content = h("div", { class: "lines" });
    this.scroller = h("div", { class: "scroller", tabindex: 0 }, this.content);
    this.ruler = ruler(this.scroller, () => this.marks());
    this.body = h("div", { class: "pane-body" }, this.scroller, this.ruler.box);
    this.unfolded = new Set();
    this.rows = new Rows(this.scroller, this.content, (i) => this.row(i));
    clear(place, this.body);
    this.content.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell.node, .cell");
      const inner = event.target.closest("[data-id]");
      if (inner && cell) pick(Number(cell.dataset.stage), Number(inner.dataset.id));
      else if (cell && cell.dataset.node) pick(Number(cell.dataset.stage), Number(cell.dataset.node));
    });
    new ResizeObserver(() => this.fit()).observe(this.scroller);
  }
  // `a` is null where one stage stands alone
  show(a, b, all, chosen) {
    Object.assign(this, { a, b, all, chosen });
    if (a !== null && translated(a, b)) this.all = true;
    this.unfolded.clear();
    this.build();
    this.width = 0;
    this.fit();
  }
  build() {
    const whole = this.a === null
      ? entries(stage(this.b)).map((e) => ({ a: null, b: { ...e, state: "same" }, state: "same" }))
      : compare(this.a, this.b).rows;
    this.items = [];
    for (let i = 0; i < whole.length; i += 1) {
      let past = i;
      while (past < whole.length && this.isParameter(whole[past])) past += 1;
      if (past - i > 8 && !this.unfolded.has(i)) {
        this.items.push({ fold: past - i, at: i, label: parameterLabel(whole.slice(i, past)) });
        i = past - 1;
        continue;
      }
      if (past > i) { this.items.push(...whole.slice(i, past)); i = past - 1; continue; }
      let end = i;
      while (end < whole.length && whole[end].state === "same") end += 1;
      const from = i === 0 ? i + 1 : i + KEEP, to = end === whole.length ? end - 1 : end - KEEP;
      if (!this.all && this.a !== null && to - from > 2 && !this.unfolded.has(i)) {
        this.items.push(...whole.slice(i, from), { fold: to - from, at: i }, ...whole.slice(to, end));
        i = end - 1;
      } else {
        this.items.push(...whole.slice(i, Math.max(end, i + 1)));
        i = Math.max(end, i + 1) - 1;
      }
    }
  }
  // weights come before the nodes in a listing, and there are many: they are folded together
  isParameter(row) {
    const of = (entry, at) => !entry || (entry.id !== null && !stage(at).byId.has(entry.id));
    return of(row.a, this.a) && of(row.b, this.b);
  }
  fit() {
    const width = this.scroller.clientWidth;
    if (!width || !this.items || (width === this.width && this.rows.total)) return;
    this.width = width;
    const two = this.a !== null && width > 720;
    this.two = two;
    this.columns = Math.max(16, Math.floor((width / (two ? 2 : 1) - 34) / columnWidth()));
    const flat = [];
    for (const item of this.items) {
      if (!two && item.a && item.b && item.state !== "same") flat.push({ a: item.a, b: null }, { a: null, b: item.b, of: item.a });
      else flat.push(item);
    }
    this.flat = flat;
    const tall = (entry) => (entry ? breaks(entry.text, this.columns).length : 0);
    this.rows.set(flat.map((x) => (x.fold ? 24 : Math.max(tall(x.a), tall(x.b)) * LINE + 2)));
    this.ruler.draw();
  }
  row(i) {
    const item = this.flat[i];
    if (item.fold) {
      return h("div", { class: "row" }, h("button", { class: "fold-row", onclick: () => this.unfold(item.at) }, item.label || `${count(item.fold)} unchanged lines`));
    }
    const other = item.a && item.b && item.state !== "same" && item.a.text !== item.b.text ? differing(item.a.text, item.b.text) : null;
    const one = this.a === null ? null : stage(this.a), two = stage(this.b);
    const cells = [];
    if (this.two) cells.push(cell(item.a, "left", one, this.columns, other), cell(item.b, "right", two, this.columns, other));
    else if (item.b) cells.push(cell(item.b, "right", two, this.columns, other));
    else cells.push(cell(item.a, "left", one, this.columns, other));
    for (const c of cells) if (this.isChosen(c)) c.classList.add("chosen");
    return h("div", { class: this.two ? "row two" : "row" }, cells);
  }
  isChosen(cell) {
    if (!this.chosen || !cell.dataset.node) return false;
    const at = Number(cell.dataset.stage), id = Number(cell.dataset.node);
    return at === this.chosen.stage ? id === this.chosen.id : kin(this.chosen.stage, this.chosen.id, at).includes(id);
  }
  choose(chosen, reveal) {
    this.chosen = chosen;
    if (!this.flat) return;
    this.rows.again();
    if (!chosen || !reveal) return;
    const wanted = (x) => x && x.id !== null;
    const found = this.flat.findIndex((x) => (wanted(x.b) && this.b === chosen.stage && x.b.id === chosen.id) || (wanted(x.a) && this.a === chosen.stage && x.a.id === chosen.id));
    if (found >= 0) this.rows.show(found);
    else if (this.items.some((x) => x.label)) { this.items.forEach((x) => { if (x.label) this.unfolded.add(x.at); }); this.build(); this.width = 0; this.fit(); this.choose(chosen, reveal); }
    else if (!this.all) { this.all = true; this.build(); this.width = 0; this.fit(); this.choose(chosen, reveal); }
  }
  unfold(at) {
    const top = this.scroller.scrollTop;
    this.unfolded.add(at);
    this.build();
    this.width = 0;
    this.fit();
    this.scroller.scrollTop = top;
  }
  marks() {
    const items = [];
    (this.flat || []).forEach((x, i) => {
      const state = x.fold ? "same" : x.state === "pair" ? "add" : (x.b || x.a).state;
      if (state !== "same") items.push({ from: this.rows.tops[i], to: this.rows.tops[i + 1], state });
    });
    return { total: Math.max(this.rows.total, this.scroller.clientHeight || 1), items };
  }
  step(by) {
    const here = this.rows.at(this.scroller.scrollTop + this.scroller.clientHeight / 3);
    const hot = (x) => x && !x.fold && (x.state === "pair" || (x.b || x.a).state !== "same");
    for (let i = here + by; i >= 0 && i < this.flat.length; i += by) {
      if (hot(this.flat[i]) && !hot(this.flat[i - by])) { this.scroller.scrollTop = this.rows.tops[i] - this.scroller.clientHeight / 3; return; }
    }
  }
}
