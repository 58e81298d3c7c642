(() => {
"use strict";
const state = JSON.parse(document.getElementById("state").textContent);
const $ = (id) => document.getElementById(id);
let steps = state.steps, done = [], open = null, texts = state;
let running = false, wanted = null, drawn = "", timer = 0, dragged = null;

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// only what differs from its default is written
function stepText(step) {
  const known = state.known[step.name];
  const given = known.options
    .filter((option) => step.options[option.name] !== option.default)
    .map((option) => `${option.name}=${step.options[option.name]}`);
  return given.length ? `${step.name}{${given.join(",")}}` : step.name;
}

function pipelineText() {
  return steps.map(stepText).join(",");
}

function defaults(name) {
  return Object.fromEntries(state.known[name].options.map((o) => [o.name, o.default]));
}

function draw() {
  $("passes").replaceChildren(...steps.map(chip));
  // what is being typed stays
  const box = $("pipeline"), typing = document.activeElement === box && box.value !== drawn;
  drawn = pipelineText();
  if (!typing) box.value = drawn;
  drawOptions();
}

function chip(step, index) {
  const told = done[index];
  const name = make("button", { type: "button", className: "name" }, step.name);
  name.setAttribute("aria-expanded", String(open === index));
  name.title = state.known[step.name].sentence;
  name.onclick = () => { open = open === index ? null : index; draw(); };
  if (told) {
    const text = told.changed ? `${told.matches} in ${told.milliseconds} ms` : "no change";
    name.append(make("span", { className: "count" }, text));
  }
  const tool = (label, sign, usable, action) => {
    const button = make("button", { type: "button", title: label, disabled: !usable }, sign);
    button.setAttribute("aria-label", `${label}: ${step.name}, ${index + 1} of ${steps.length}`);
    button.onclick = action;
    return button;
  };
  const item = make("li", { draggable: true },
    tool("Earlier", "\u25C2", index > 0, () => move(index, index - 1)),
    name,
    tool("Later", "\u25B8", index + 1 < steps.length, () => move(index, index + 1)),
    tool("Remove", "\u00D7", true, () => change(() => steps.splice(index, 1))));
  item.classList.toggle("idle", Boolean(told) && !told.changed);
  item.classList.toggle("failed", Boolean(told && told.failed));
  item.classList.toggle("open", open === index);
  item.ondragstart = () => { dragged = index; };
  item.ondragover = (event) => { event.preventDefault(); item.classList.add("over"); };
  item.ondragleave = () => item.classList.remove("over");
  item.ondrop = (event) => { event.preventDefault(); if (dragged !== null) move(dragged, index); };
  return item;
}

function drawOptions() {
  const step = open === null ? null : steps[open];
  $("options").hidden = !step;
  if (!step) return;
  const known = state.known[step.name];
  const fields = known.options.map((option) => make("label", {}, option.name, field(step, option)));
  const none = known.options.length ? "" : " It has no options.";
  $("options").replaceChildren(make("p", {}, known.sentence + none), ...fields);
}

function field(step, option) {
  const value = step.options[option.name];
  let input;
  if (option.choices.length) {
    input = make("select", {}, ...option.choices.map((c) => make("option", { value: c }, c)));
  } else {
    input = make("input", { spellcheck: false });
  }
  input.value = value;
  input.onchange = () => {
    if (/[{},]/.test(input.value)) { input.value = value; return; }
    change(() => { step.options[option.name] = input.value.trim(); }, true);
  };
  return input;
}

function boxes() {
  return [...document.querySelectorAll("#shows input")];
}

function shown() {
  return Object.fromEntries(boxes().map((box) => [box.value, box.checked]));
}

function move(from, to) {
  change(() => steps.splice(to, 0, ...steps.splice(from, 1)));
}

function change(edit, keepOpen) {
  edit();
  done = [];
  dragged = null;
  if (!keepOpen) open = null;
  draw();
  clearTimeout(timer);
  timer = setTimeout(() => run(pipelineText()), 350);
}

function say(text, bad) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", Boolean(bad));
}

// one request at a time; what is wanted meanwhile is asked for when it is answered
async function run(pipeline) {
  wanted = { pipeline, shows: shown() };
  if (running) return;
  running = true;
  for (let asked = null; asked !== wanted;) {
    asked = wanted;
    const told = await answer(asked);
    if (asked === wanted) show(told);
  }
  running = false;
}

async function answer(asked) {
  const slow = boxes().filter((box) => box.checked).map((box) => box.parentElement.textContent.trim());
  say(["Running the passes", ...slow].join(", ") + " ...");
  try {
    const headers = { "Content-Type": "application/json" };
    const found = await fetch("trace", { method: "POST", headers, body: JSON.stringify(asked) });
    return await found.json();
  } catch (error) {
    return { error: `The server does not answer: ${error.message}` };
  }
}

function show(told) {
  if (told.error) { say(told.error, true); return; }
  steps = told.steps;
  done = told.done;
  texts = told;
  draw();
  // the place in the report stays
  let place = "";
  try { place = $("report").contentWindow.location.hash; } catch { place = ""; }
  $("report").contentWindow.location.replace(`report?${told.report}${place}`);
  const changed = done.filter((d) => d.changed).length;
  const failed = done.filter((d) => d.failed).map((d) => `${d.pass}: ${d.failed}`);
  const nodes = done.length ? `, ${done[0].nodes[0]} \u2192 ${done[done.length - 1].nodes[1]} nodes` : "";
  say([`${changed} of ${done.length} passes changed the graph${nodes}`, ...failed, ...told.notes].join("; "), failed.length);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}: ${text}`);
  } catch {
    say(text);
    getSelection().selectAllChildren($("message"));
  }
}

for (const name of Object.keys(state.known)) {
  $("add").append(make("option", { value: name, title: state.known[name].sentence }, name));
}
$("add").onchange = () => {
  const name = $("add").value;
  $("add").value = "";
  if (name) change(() => steps.push({ name, options: defaults(name) }));
};
$("pipeline").onchange = () => {
  open = null;
  drawn = $("pipeline").value;
  run(drawn);
};
for (const box of boxes()) {
  box.checked = state.shows[box.value];
  box.onchange = () => run(pipelineText());
}
$("copy-python").onclick = () => copy(texts.python, "the Python");
$("copy-command").onclick = () => copy(texts.command, "the command");
draw();
run(state.pipeline);
})();
