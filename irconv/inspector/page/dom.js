// Making elements. Text of a model only ever becomes a text node: nothing here parses HTML.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, kids) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
    else if (key === "value" || key === "checked" || key === "open") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const kid of kids.flat(3)) {
    if (kid === undefined || kid === null || kid === false || kid === "") continue;
    element.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
  return element;
}
const h = (tag, props, ...kids) => fill(document.createElement(tag), props, kids);
const s = (tag, props, ...kids) => fill(document.createElementNS(SVG, tag), props, kids);
const clear = (element, ...kids) => { element.replaceChildren(); return fill(element, null, kids); };
const name = (text) => h("bdi", { class: "mono" }, text);

function count(number) { return Number(number).toLocaleString("en-US").replaceAll(",", "\u202f"); }
function plural(number, one, many) { return `${count(number)} ${number === 1 ? one : many || one + "s"}`; }
function short(number, unit) {
  if (typeof number !== "number") return String(number ?? "-");
  let size = Math.abs(number), at = 0;
  const steps = ["", "k", "M", "G", "T", "P"];
  while (size >= 999.5 && at < steps.length - 1) { size /= 1000; number /= 1000; at += 1; }
  const digits = at === 0 ? (Number.isInteger(number) ? 0 : 2) : size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return `${number.toFixed(digits)}${steps[at] || unit ? "\u202f" : ""}${steps[at]}${unit || ""}`;
}
const bytes = (number) => short(number, "B");
function time(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)}\u202fs`;
  return seconds >= 1e-3 ? `${(seconds * 1e3).toFixed(1)}\u202fms` : `${(seconds * 1e6).toFixed(0)}\u202f\u00b5s`;
}
function error(value) {
  if (value === null || value === undefined) return "-";
  if (typeof value === "string") return value;
  return value === 0 ? "0" : value.toExponential(1).replace("e-", "e\u2212").replace("e+", "e");
}
// never "100 %" of what is not all, never "0 %" of something
function percent(part, whole) {
  if (!whole) return "-";
  const share = 100 * part / whole, rest = Math.min(share, 100 - share);
  const digits = rest <= 0 || rest >= 9.95 ? 0 : rest >= 0.95 ? 1 : clamp(Math.ceil(-Math.log10(rest)) + 1, 1, 6);
  return `${share.toFixed(digits)}\u202f%`;
}
const cut = (text, length) => (text.length <= length ? text : `${text.slice(0, Math.max(1, length - 1))}\u2026`);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const phone = () => matchMedia("(max-width: 860px)").matches;
