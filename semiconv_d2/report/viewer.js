// The enlarged image, and the reactions to clicks and keys. page.py puts this file after gallery.js.
// -- viewer --------------------------------------------------------------------------------------

const viewer = $("viewer");

function open(i, fromAll) {
  if (!state.shown.includes(i)) return;
  Object.assign(state, { open: i, zoom: null, fromAll });
  if (!viewer.open) viewer.showModal();
  const { height, width, name } = index.pictures[i], s = settings(), entry = state.measured.get(i);
  const frame = frameFor(i);
  frame.style.width = `min(100vw - 9rem, ${(width / height).toFixed(4)} * 62dvh)`;
  if (matchMedia("(max-width: 640px)").matches) frame.style.width = "100vw";
  $("viewer-picture").replaceChildren(frame);
  fill(frame, i);
  $("viewer-name").textContent = name;
  $("viewer-place").textContent = `${state.shown.indexOf(i) + 1} of ${state.shown.length}`;
  $("viewer-facts").textContent = (several ? `change ${signed(entry.change)} · ` : "") + describe(entry, s);
  instanceTable(i, s);
  pressed();
}

function instanceTable(i, s) {
  const classes = index.classes.length > 1;
  const head = ["instance", ...(classes ? ["class"] : []), "area, px", "contact", ...runs.map((r) => `IoU ${r}`)];
  if (several) head.push("change");
  const rows = index.pictures[i].instances.map((x, k) => [x, k]).filter(([x]) => passes(x, s));
  const key = several ? ([x]) => Math.abs(x[IOU + s.to] - x[IOU + s.from]) : ([x]) => 1 - x[IOU];
  rows.sort((a, b) => key(b) - key(a));
  const body = make("tbody");
  for (const [x, k] of rows) {
    const first = make("th", { scope: "row" }, make("i", { class: shade(k) }), `${k + 1}`);
    const cells = [...(classes ? [index.classes[x[CLASS]]] : []), Math.round(x[AREA]), `${Math.round(100 * x[TOUCHING])} %`,
      ...x.slice(IOU).map((v) => v ? number(v) : "missed")];
    const row = make("tr", { "data-key": keyOf(k) }, first, ...cells.map((c) => make("td", {}, `${c}`)));
    if (several) {
      const change = x[IOU + s.to] - x[IOU + s.from];
      row.append(make("td", { class: direction(change) }, signed(change)));
    }
    body.append(row);
  }
  picture(i).found.forEach((found, r) => found.forEach(([, owner, score, category], n) => {
    if (owner >= 0) return;
    const text = `false positive in ${runs[r]}, score ${number(score)}`;
    body.append(make("tr", { "data-key": keyOf(owner, r, n) }, make("th", { scope: "row" }, make("i", { class: "none" }), "–"),
      ...(classes ? [make("td", {}, index.classes[category])] : []),
      make("td", { colspan: head.length - (classes ? 2 : 1) }, text)));
  }));
  $("viewer-table").replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))), body);
}

function step(by) {
  const place = state.shown.indexOf(state.open) + by, count = state.shown.length;
  open(state.shown[(place + count) % count], state.fromAll);
}

function highlight(row) {
  const svg = $("viewer-picture").querySelector("svg");
  if (!svg) return;
  const key = row && row.dataset.key !== state.zoom ? row.dataset.key : null;
  svg.classList.toggle("dim", key !== null);
  for (const path of svg.querySelectorAll("path")) path.classList.toggle("on", path.dataset.key === key);
}

/** Left, top, right and bottom of outlines, in steps. */
function bounds(outlines) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const part of outlines.flatMap((d) => d.match(/M[^M]+/g) || [])) {
    let x = 0, y = 0; // a path starts at a point and continues with differences
    const numbers = part.match(/-?\d+/g).map(Number);
    for (let k = 0; k < numbers.length; k += 2) {
      x += numbers[k];
      y += numbers[k + 1];
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    }
  }
  return box;
}

/** Zooms to an instance or a detection, in all layers; null: shows the whole image. */
function zoom(key) {
  const frame = $("viewer-picture").querySelector(".frame"), content = picture(state.open);
  const whole = index.pictures[state.open], width = STEPS * whole.width, height = STEPS * whole.height;
  let x = 0, y = 0, share = 1;
  const found = content.found.flatMap((f, r) => f.filter(([, owner], n) => keyOf(owner, r, n) === key).map(([d]) => d));
  const [x0, y0, x1, y1] = bounds([content.truth[key] || "", ...found]);
  if (key !== null && x1 >= x0) { // it has an outline
    const sides = [(x1 - x0) / width, (y1 - y0) / height].map((side) => AROUND * side);
    share = Math.min(1, Math.max(...sides, CLOSEST / width, CLOSEST / height));
    x = Math.max(0, Math.min((x0 + x1 - share * width) / 2, width - share * width));
    y = Math.max(0, Math.min((y0 + y1 - share * height) / 2, height - share * height));
  }
  state.zoom = key;
  frame.classList.toggle("close", key !== null);
  frame.querySelector("svg").setAttribute("viewBox", `${x} ${y} ${share * width} ${share * height}`);
  const image = frame.querySelector("img");
  if (image) image.style.transform = `scale(${1 / share}) translate(${-100 * x / width}%, ${-100 * y / height}%)`;
  highlight(null);
  for (const row of $("viewer-table").querySelectorAll("tr[data-key]")) row.classList.toggle("chosen", row.dataset.key === key);
  if (key !== null) frame.scrollIntoView({ block: "nearest" });
}

/** Zooms to the next instance of the table. Before the first and after the last: the whole image. */
function stepZoom(by) {
  const keys = [null, ...[...$("viewer-table").querySelectorAll("tr[data-key]")].map((row) => row.dataset.key)];
  zoom(keys[(keys.indexOf(state.zoom) + by + keys.length) % keys.length]);
}

// -- layers --------------------------------------------------------------------------------------

function show(layer) {
  state.layer = layer;
  document.querySelectorAll(".frame").forEach((frame) => frame.dataset.picture && flip(frame));
  pressed();
}

function pressed() {
  for (const button of document.querySelectorAll(".layers button")) {
    button.setAttribute("aria-pressed", Number(button.dataset.layer) === state.layer);
  }
}

// -- set-up --------------------------------------------------------------------------------------

const options = (id, entries, chosen = "") => $(id).append(
  ...entries.map(([value, text]) => make("option", { value, ...(value === chosen && { selected: "" }) }, text)));
const numbered = (names) => [["", "all"], ...names.map((n, k) => [String(k), n])];

options("from", runs.map((n, k) => [String(k), n]), "0");
options("to", runs.map((n, k) => [String(k), n]), String(last));
options("sort", Object.entries(SORTS).map(([key, [text]]) => [key, text]));
options("class", numbered(index.classes));
options("size", numbered(index.sizes));
options("contact", numbered(index.contacts));
options("iou-run", [["", several ? "in any run" : ""], ...(several ? runs.map((n, k) => [String(k), `in ${n}`]) : [])]);
for (const label of document.querySelectorAll(".pair")) label.hidden = runs.length < 3;
for (const label of document.querySelectorAll(".pair")) label.style.display = runs.length < 3 ? "none" : "";
$("iou-run").hidden = !several;
$("class").parentElement.style.display = index.classes.length > 1 ? "" : "none";

for (const id of ["layers", "viewer-layers"]) {
  $(id).append(...layers.map((name, k) => make("button", { type: "button", "data-layer": k }, name, make("kbd", {}, `${k}`))));
  $(id).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.layer));
  });
}
$("controls").addEventListener("input", update);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("reset", () => setTimeout(update));
$("gallery").addEventListener("click", (event) => {
  const target = event.target.closest(".card, rect[data-index]");
  if (target) open(Number(target.dataset.index), Boolean(target.closest("#cards")));
});
$("close").addEventListener("click", () => viewer.close());
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
viewer.addEventListener("close", () => {
  const left = state.fromAll && document.querySelector(`#cards [data-index="${state.open}"]`);
  if (left) left.focus();
});
viewer.addEventListener("cancel", (event) => {
  if (state.zoom === null) return;
  event.preventDefault();
  zoom(null);
});
$("viewer-picture").addEventListener("click", (event) => {
  const path = event.target.closest("path[data-key]");
  zoom(state.zoom === null && path ? path.dataset.key || null : null);
});
$("viewer-table").addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-key]");
  if (row) zoom(row.dataset.key === state.zoom ? null : row.dataset.key);
});
$("viewer-table").addEventListener("pointerover", (event) => highlight(event.target.closest("tr[data-key]")));
$("viewer-table").addEventListener("pointerleave", () => highlight(null));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select, textarea");
  if (typing || (event.key === " " && event.target.closest("button"))) return;
  if (/^\d$/.test(event.key) && Number(event.key) < layers.length) show(Number(event.key));
  if (!viewer.open) return;
  if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowDown") stepZoom(1);
  else if (event.key === "ArrowUp") stepZoom(-1);
  else if (event.key === " ") show((state.layer + 1) % layers.length);
  else return;
  event.preventDefault();
});
window.addEventListener("beforeprint", () => {
  for (const node of document.querySelectorAll("#extremes .card, .few #cards .card")) {
    if (node.matches(`#cards .card:nth-child(n+${2 * EXTREMES + 1})`)) continue;
    seen.unobserve(node);
    fill(node.querySelector(".frame"), Number(node.dataset.index));
  }
});
update();
pressed();
