// Long lists of rows of known heights: only the rows in sight are in the page. Beside them, a ruler.
class Rows {
  constructor(scroller, content, draw) {
    this.scroller = scroller;
    this.content = content;
    this.draw = draw;
    this.shown = new Map();
    this.tops = [0];
    scroller.addEventListener("scroll", () => this.later(), { passive: true });
  }
  set(heights) {
    this.tops = new Float64Array(heights.length + 1);
    heights.forEach((height, i) => { this.tops[i + 1] = this.tops[i] + height; });
    for (const element of this.shown.values()) element.remove();
    this.shown.clear();
    this.content.style.height = `${this.tops[heights.length]}px`;
    this.now();
  }
  get total() { return this.tops[this.tops.length - 1]; }
  at(y) {
    let low = 0, high = this.tops.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= y) low = middle; else high = middle - 1;
    }
    return Math.max(0, low);
  }
  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.now(); });
  }
  now() {
    const size = this.scroller.clientHeight || 600, top = this.scroller.scrollTop;
    const first = this.at(Math.max(0, top - size / 2));
    const last = this.tops.length > 1 ? this.at(top + size * 1.5) : -1;
    for (const [i, element] of this.shown) if (i < first || i > last) { element.remove(); this.shown.delete(i); }
    for (let i = first; i <= last; i += 1) {
      if (this.shown.has(i)) continue;
      const element = this.draw(i);
      element.style.top = `${this.tops[i]}px`;
      element.style.height = `${this.tops[i + 1] - this.tops[i]}px`;
      this.shown.set(i, element);
      this.content.append(element);
    }
  }
  again() {
    for (const element of this.shown.values()) element.remove();
    this.shown.clear();
    this.now();
  }
  show(i) {
    const size = this.scroller.clientHeight, top = this.tops[i], low = this.tops[i + 1];
    if (top < this.scroller.scrollTop + 40 || low > this.scroller.scrollTop + size - 40) {
      this.scroller.scrollTop = Math.max(0, (top + low) / 2 - size / 3);
    }
    this.now();
  }
}

// a colour of the style, as a canvas understands it
function colourOf(variable) {
  const probe_ = h("span", { style: { color: `var(${variable})`, display: "none" } });
  document.body.append(probe_);
  const found = getComputedStyle(probe_).color;
  probe_.remove();
  return found;
}

// where the changes are in the whole: a click goes there
function ruler(scroller, marks) {
  const canvas = h("canvas");
  const box = h("div", { class: "ruler", title: "Where the changes are; click to go there" }, canvas);
  let colours = null;
  const draw = () => {
    const size = box.clientHeight, ratio = devicePixelRatio || 1;
    if (!size) return;
    colours ||= Object.fromEntries(["add", "del", "chg", "mov", "faint"].map((key) => [key, colourOf(`--${key}`)]));
    canvas.width = 14 * ratio; canvas.height = size * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const { total, items } = marks();
    for (const { from, to, state } of items) {
      pen.fillStyle = colours[state];
      pen.fillRect(3, (from / total) * size, 8, Math.max(2, ((to - from) / total) * size - 0.5));
    }
    pen.strokeStyle = colours.faint;
    const top = (scroller.scrollTop / total) * size, height = Math.min(size, (scroller.clientHeight / total) * size);
    pen.strokeRect(1, top + 0.5, 12, Math.max(6, height - 1));
  };
  const go = (event) => {
    const { total } = marks();
    scroller.scrollTop = (event.offsetY / box.clientHeight) * total - scroller.clientHeight / 2;
  };
  let waiting = 0;
  const later = () => { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; draw(); }); };
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); go(event); });
  box.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  scroller.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(later).observe(box);
  return { box, draw: later };
}
