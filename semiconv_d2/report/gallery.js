// The images of a report, and the controls above them. page.py puts this file and viewer.js into one function.
const $ = (id) => document.getElementById(id);
const index = JSON.parse($("index").textContent);
const FOUND = 0.5, EXTREMES = 4, STEPS = 2;
const AROUND = 1.6, CLOSEST = 32; // zoom: size of the window relative to the object, and its smallest size in steps
const SVG = "http://www.w3.org/2000/svg";
const runs = index.runs, last = runs.length - 1, several = runs.length > 1;
const layers = ["image", "truth", ...runs];
const state = { layer: layers.length - 1, shown: [], open: -1, zoom: null };
const CLASS = 0, SIZE = 1, CONTACT = 2, TOUCHING = 3, AREA = 4, IOU = 5;

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const draw = (tag, attributes) => {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const mean = (values) => values.length ? values.reduce((a, b) => a + b, 0) / values.length : NaN;
const number = (value) => Number.isFinite(value) ? value.toFixed(2) : "–";
const signed = (value) => !Number.isFinite(value) ? "–" :
  (value < -0.005 ? "−" : value > 0.005 ? "+" : "±") + Math.abs(value).toFixed(2);
const direction = (value) => value > 0.005 ? "up" : value < -0.005 ? "down" : "muted";
const plural = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;

// -- pictures: drawn when they are first visible -----------------------------------------------

const parsed = new Map();
const picture = (i) => {
  if (!parsed.has(i)) parsed.set(i, JSON.parse($(`picture-${i}`).textContent));
  return parsed.get(i);
};
const shade = (instance) => `c${instance % index.shades}`;
// Key of paths and table rows: an instance, or the n-th detection of a run.
const keyOf = (owner, run, n) => owner < 0 ? `${run}:${n}` : `${owner}`;

function layerOf(i, layer) {
  const content = picture(i), group = draw("g", { transform: "translate(.5 .5)", "data-layer": layer });
  const add = (d, kind, key) => d && group.append(draw("path", { d, class: kind, "data-key": key }));
  if (layer === 1) {
    content.crowds.forEach((d) => add(d, "crowd", ""));
    content.truth.forEach((d, k) => add(d, `mask ${shade(k)}`, k));
  } else if (layer > 1) {
    const found = content.found[layer - 2], owners = new Set(found.map((f) => f[1]));
    content.truth.forEach((d, k) => owners.has(k) || add(d, `missed ${shade(k)}`, k));
    [...found.entries()].reverse().forEach(([n, [d, owner]]) =>
      add(d, owner < 0 ? "false" : `mask ${shade(owner)}`, keyOf(owner, layer - 2, n)));
  }
  return group;
}

function fill(frame, i) {
  const { height, width, name } = index.pictures[i];
  const content = picture(i);
  const svg = draw("svg", { viewBox: `0 0 ${width * STEPS} ${height * STEPS}`, "aria-hidden": "true" });
  frame.replaceChildren();
  if (content.uri) frame.append(make("img", { src: content.uri, alt: name }));
  frame.append(svg);
  frame.dataset.picture = i;
  flip(frame);
}

function flip(frame) {
  const i = Number(frame.dataset.picture), svg = frame.querySelector("svg");
  if (!svg) return;
  let wanted = svg.querySelector(`[data-layer="${state.layer}"]`);
  if (!wanted) svg.append(wanted = layerOf(i, state.layer));
  for (const group of svg.children) group.style.display = group === wanted ? "" : "none";
}

const frameFor = (i) => {
  const { height, width } = index.pictures[i];
  return make("span", { class: "frame", style: `display:block;aspect-ratio:${width}/${height}` });
};

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    fill(target.querySelector(".frame"), Number(target.dataset.index));
  }
}, { rootMargin: "600px 0px" });

// -- sorting and filters ------------------------------------------------------------------------

const settings = () => ({
  from: Number($("from").value), to: Number($("to").value), sort: $("sort").value,
  category: $("class").value, size: $("size").value, contact: $("contact").value,
  least: Number($("least").value || 0), most: Number($("most").value || 1),
  iouRun: $("iou-run").value, onlyFalse: $("only-false").checked,
});

function passes(instance, s) {
  if (s.category !== "" && instance[CLASS] !== Number(s.category)) return false;
  if (s.size !== "" && instance[SIZE] !== Number(s.size)) return false;
  if (s.contact !== "" && instance[CONTACT] !== Number(s.contact)) return false;
  const values = s.iouRun === "" ? instance.slice(IOU) : [instance[IOU + Number(s.iouRun)]];
  return values.some((v) => v >= s.least && v <= s.most);
}

function measure(i, s) {
  const entry = index.pictures[i], instances = entry.instances.filter((x) => passes(x, s));
  const iou = runs.map((_, r) => mean(instances.map((x) => x[IOU + r])));
  const wrong = entry.false.map((found) => found.filter((c) => s.category === "" || c === Number(s.category)).length);
  return {
    i, iou, name: entry.name, count: instances.length, of: entry.instances.length,
    found: runs.map((_, r) => instances.filter((x) => x[IOU + r] >= FOUND).length),
    change: several ? mean(instances.map((x) => x[IOU + s.to] - x[IOU + s.from])) : NaN,
    touching: mean(instances.map((x) => x[TOUCHING])),
    false: wrong, wrong: wrong[several ? s.to : 0],
  };
}

const less = (a, b) => (Number.isFinite(a) ? a : Infinity) - (Number.isFinite(b) ? b : Infinity) || 0;
const SORTS = {
  ...(several && {
    gain: ["largest gains first", (a, b) => less(-a.change, -b.change)],
    loss: ["largest losses first", (a, b) => less(a.change, b.change)],
    change: ["largest changes first", (a, b) => less(-Math.abs(a.change), -Math.abs(b.change))],
  }),
  worst: [several ? "lowest IoU of the second run" : "lowest IoU first", (a, b) => less(a.iou[a.to], b.iou[b.to])],
  ...(!several && { best: ["highest IoU first", (a, b) => less(-a.iou[0], -b.iou[0])] }),
  false: [several ? "most false positives in the second run" : "most false positives", (a, b) => b.wrong - a.wrong],
  crowded: ["most in contact", (a, b) => less(-a.touching, -b.touching)],
  instances: ["most instances", (a, b) => b.count - a.count],
  name: ["name", (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0],
};

// -- cards ---------------------------------------------------------------------------------------

function describe(entry, s) {
  const parts = [];
  if (several) {
    parts.push(`IoU ${number(entry.iou[s.from])} → ${number(entry.iou[s.to])}`);
    parts.push(`found ${entry.found[s.from]} → ${entry.found[s.to]} of ${entry.count}`);
    parts.push(`false positives ${entry.false[s.from]} → ${entry.false[s.to]}`);
  } else {
    parts.push(`IoU ${number(entry.iou[0])}`, `found ${entry.found[0]} of ${entry.count}`);
    parts.push(plural(entry.false[0], "false positive"));
  }
  return parts.join(" · ");
}

function card(entry, s) {
  const change = several
    ? make("span", { class: direction(entry.change) }, signed(entry.change))
    : make("span", { class: "muted" }, number(entry.iou[0]));
  const title = make("span", { class: "card-name" }, make("span", {}, entry.name), change);
  const text = make("span", { class: "card-text" }, title, make("span", { class: "muted" }, describe(entry, s)));
  const label = `${entry.name}: ${several ? `change ${signed(entry.change)}, ` : ""}${describe(entry, s)}`;
  const button = make("button", { type: "button", class: "card", "data-index": entry.i, "aria-label": label },
    frameFor(entry.i), text);
  seen.observe(button);
  return button;
}

const putCards = (parent, entries, s) => parent.replaceChildren(...entries.map((e) => card(e, s)));

function update() {
  const s = settings();
  const every = index.pictures.map((_, i) => Object.assign(measure(i, s), { to: several ? s.to : 0 }));
  const filtered = every.some((e) => e.count !== e.of) || s.onlyFalse;
  const kept = every.filter((e) => (e.count || !filtered || (s.onlyFalse && !e.of)) && (!s.onlyFalse || e.false.some(Boolean)));
  const [, compare] = SORTS[s.sort];
  const sorted = kept.map((e, k) => [e, k]).sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(([e]) => e);
  state.shown = sorted.map((e) => e.i);
  state.measured = new Map(sorted.map((e) => [e.i, e]));
  const instances = sorted.reduce((sum, e) => sum + e.count, 0);
  const wrong = runs.map((name, r) => `${sorted.reduce((sum, e) => sum + e.false[r], 0)} in ${name}`);
  $("count").textContent = `${plural(sorted.length, "image")} with ${plural(instances, "instance")}; ` +
    `false positives: ${wrong.join(", ")}`;
  putCards($("cards"), sorted, s);
  if (several) overview(sorted, s);
  extremes(sorted, s);
}

function extremes(entries, s) {
  const parent = $("extremes");
  parent.replaceChildren();
  const block = (title, chosen) => {
    const cards = make("div", { class: "cards" });
    putCards(cards, chosen, s);
    parent.append(make("h3", {}, title), cards);
  };
  if (several) {
    const changed = entries.filter((e) => Number.isFinite(e.change)).sort((a, b) => b.change - a.change);
    const gains = changed.filter((e) => e.change > 0).slice(0, EXTREMES);
    const losses = changed.filter((e) => e.change < 0).reverse().slice(0, EXTREMES);
    if (gains.length) block(`Largest gains, ${runs[s.from]} → ${runs[s.to]}`, gains);
    if (losses.length) block(`Largest losses, ${runs[s.from]} → ${runs[s.to]}`, losses);
  } else if (entries.length > 2 * EXTREMES) {
    const known = entries.filter((e) => e.count).sort((a, b) => a.iou[0] - b.iou[0]);
    block("Lowest IoU", known.slice(0, EXTREMES));
    block("Highest IoU", known.slice(-EXTREMES).reverse());
  }
  $("gallery").classList.toggle("few", !parent.children.length); // then print the first of all images
}

/** Draws a bar for the change of each image, sorted from gains to losses. */
function overview(entries, s) {
  const sorted = entries.filter((e) => Number.isFinite(e.change)).sort((a, b) => b.change - a.change);
  const parent = $("overview");
  parent.replaceChildren();
  if (!sorted.length) return;
  const top = Math.max(0.01, ...sorted.map((e) => Math.abs(e.change))), height = 96;
  const up = Math.max(0, sorted[0].change), down = Math.max(0, -sorted[sorted.length - 1].change);
  const zero = up + down ? 4 + (height - 8) * up / (up + down) : height / 2;
  const scale = up + down ? (height - 8) / (up + down) : 1 / top;
  const better = sorted.filter((e) => e.change > 0).length, worse = sorted.filter((e) => e.change < 0).length;
  const label = `Change of ${plural(sorted.length, "image")} from ${runs[s.from]} to ${runs[s.to]}: ` +
    `${better} better (up to ${signed(sorted[0].change)}), ${worse} worse (down to ` +
    `${signed(sorted[sorted.length - 1].change)}), mean ${signed(mean(sorted.map((e) => e.change)))}.`;
  const svg = draw("svg", { viewBox: `0 0 ${sorted.length} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  sorted.forEach((e, k) => {
    const length = Math.max(0.8, Math.abs(e.change) * scale);
    svg.append(draw("rect", { x: k + 0.08, width: 0.84, y: e.change > 0 ? zero - length : zero, height: length,
      class: e.change > 0 ? "better" : "worse", "data-index": e.i }));
  });
  svg.append(draw("path", { class: "zero", d: `M0 ${zero}H${sorted.length}`, "vector-effect": "non-scaling-stroke" }));
  parent.append(svg, make("p", {}, label));
}
