
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const { summary, strings, left } = data;
const arms = summary.arms;
const $ = (id) => document.getElementById(id);
const NS = $("ns").namespaceURI;
const PAGE = 50;
const CHART = 420;

/* ---- elements: texts become text nodes, never markup ---- */

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}
const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => make(document.createElementNS(NS, tag), attributes, children);

/* ---- figures ---- */

const finite = (x) => typeof x === "number" && Number.isFinite(x);
const percent = (x, digits = 1) => (finite(x) ? (100 * x).toFixed(digits) : "–");
const signed = (x) => (finite(x) ? (x < 0 ? "−" : "+") + Math.abs(100 * x).toFixed(1) : "–");
const string = (number) => (number < 0 ? null : strings[number]);
const count = (n) => n.toLocaleString("en-US");
const many = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

function short(x) {
  if (!finite(x)) return "–";
  const a = Math.abs(x);
  if (x && (a < 1e-4 || a >= 1e9)) {
    const [m, e] = x.toExponential(2).split("e");
    return `${+m}e${+e}`;
  }
  if (a >= 1e6) return `${+(x / 1e6).toPrecision(3)}M`;
  if (a >= 1e4) return `${+(x / 1e3).toPrecision(3)}k`;
  if (a >= 1e3) return count(Math.round(x));
  return String(+x.toPrecision(3));
}
const chance = (p) => (!finite(p) ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3));
const interval = (e, say) =>
  h("span", { class: "range" }, ` [${say(e.low)}, ${say(e.high)}]`);
const withRange = (e, say) => (e && finite(e.value) ? h("span", {}, say(e.value), interval(e, say)) : "–");

/* ---- series: a colour, a marker, a name ---- */

const SHAPES = ["circle", "square", "triangle", "diamond", "down", "plus", "cross", "star"];
const keyOf = (arm) => JSON.stringify([arm.series || arm.strategy, arm.model]);
const keys = [...new Set(arms.map(keyOf))];
const manyModels = new Set(arms.map((arm) => arm.model)).size > 1;
const series = new Map(keys.map((key, i) => {
  const [name, model] = JSON.parse(key);
  return [key, { key, place: i, colour: `c${i % 7}`, shape: SHAPES[i % SHAPES.length],
                 name: manyModels ? `${model}: ${name}` : name }];
}));
const number = new Map(arms.map((arm, i) => [arm.label, i + 1]));
let chosen = null;

function path(shape, r) {
  const around = (n, turn, size) => Array.from({ length: n }, (_, i) => {
    const a = turn + (2 * Math.PI * i) / n, q = size(i) * r;
    return `${(q * Math.cos(a)).toFixed(2)},${(q * Math.sin(a)).toFixed(2)}`;
  });
  const closed = (points) => `M${points.join("L")}Z`;
  const flat = () => 1.25, up = -Math.PI / 2;
  if (shape === "square") return closed(around(4, Math.PI / 4, flat));
  if (shape === "triangle") return closed(around(3, up, () => 1.35));
  if (shape === "diamond") return closed(around(4, 0, () => 1.3));
  if (shape === "down") return closed(around(3, -up, () => 1.35));
  if (shape === "star") return closed(around(10, up, (i) => (i % 2 ? 0.6 : 1.4)));
  if (shape === "plus" || shape === "cross") {
    const turn = (shape === "cross" ? Math.PI / 4 : 0) - 0.32;
    return closed(Array.from({ length: 4 }, (_, q) => {
      const at = turn + (q * Math.PI) / 2;
      return [[at, 1.3], [at + 0.64, 1.3], [at + 0.32 + Math.PI / 4, 0.55]].map(
        ([a, k]) => `${(k * r * Math.cos(a)).toFixed(2)},${(k * r * Math.sin(a)).toFixed(2)}`);
    }).flat());
  }
  return `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`;
}
const mark = (of, r = 5) => s("path", { d: path(of.shape, r), fill: "currentColor" });
const swatch = (of) =>
  s("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", class: of.colour, "aria-hidden": true }, mark(of));

/* ---- charts ---- */

function logTicks(low, high) {
  const from = Math.floor(Math.log10(low)) - 1, to = Math.ceil(Math.log10(high)) + 1;
  for (const between of [[1], [1, 3], [1, 2, 5]]) {
    const ticks = [];
    for (let e = from; e <= to; e++) for (const m of between) ticks.push(m * 10 ** e);
    const inside = ticks.filter((t) => t >= low * 0.999 && t <= high * 1.001);
    if (inside.length >= 3) return inside.filter((_, i) => i % Math.ceil(inside.length / 7) === 0);
  }
  return ticks(low, high, 4);
}
function ticks(low, high, most) {
  const room = Math.max(high - low, Math.abs(low) * 1e-3, 1e-12);
  const power = 10 ** Math.floor(Math.log10(room));
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10].map((m) => m * power).find((q) => room / q <= most);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) out.push(+(i * step).toPrecision(12));
  return out;
}

/* lines: [{of, points: [{x, y, low, high, arm, ring, lines}], dash, band, marks, apart}] */
function chart(host, { x, y, lines, label, height, diagonal, rings }) {
  const draw = () => {
    host.querySelectorAll(":scope > svg, :scope > .tip").forEach((n) => n.remove());
    const W = Math.max(260, Math.round(host.clientWidth || 720)), H = Math.min(height, Math.round(W * 0.85));
    const M = { l: 46, r: 14, t: 10, b: 42 };
    const map = x.log ? Math.log : (v) => v;
    const [x0, x1] = [map(x.low), map(x.high)];
    const px = (v) => M.l + ((map(v) - x0) / (x1 - x0 || 1)) * (W - M.l - M.r);
    const py = (v) => H - M.b - ((v - y.low) / (y.high - y.low || 1)) * (H - M.t - M.b);
    const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "group", "aria-label": label });
    for (const t of y.ticks) {
      svg.append(s("line", { class: "grid", x1: M.l, x2: W - M.r, y1: py(t), y2: py(t) }),
        s("text", { x: M.l - 6, y: py(t) + 4, "text-anchor": "end" }, y.say(t)));
    }
    let end = -Infinity;
    for (const t of x.ticks) {
      svg.append(s("line", { class: "axis", x1: px(t), x2: px(t), y1: H - M.b, y2: H - M.b + 4 }));
      const said = x.say(t), half = 3.6 * said.length;
      if (px(t) - half < end + 6) continue;
      end = px(t) + half;
      svg.append(s("text", { x: px(t), y: H - M.b + 17, "text-anchor": "middle" }, said));
    }
    svg.append(s("line", { class: "axis", x1: M.l, x2: W - M.r, y1: H - M.b, y2: H - M.b }),
      s("text", { x: (M.l + W - M.r) / 2, y: H - 6, "text-anchor": "middle" }, x.label),
      s("text", { transform: `translate(12 ${(M.t + H - M.b) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
    if (diagonal) svg.append(s("line", { class: "axis", "stroke-dasharray": "2 4", x1: px(0), y1: py(0), x2: px(1), y2: py(1) }));
    const tip = h("div", { class: "tip", hidden: true });
    const show = (p, cx, cy) => {
      tip.replaceChildren(h("b", {}, p.lines[0]), ...p.lines.slice(1).map((t) => h("div", {}, t)));
      tip.hidden = false;
      const scale = svg.clientWidth / W, wide = tip.offsetWidth, high = tip.offsetHeight;
      const room = host.clientWidth - wide - 4, over = cy * scale - high - 14;
      tip.style.setProperty("left", `${Math.max(0, Math.min(room, cx * scale - wide / 2))}px`);
      tip.style.setProperty("top", `${over > 0 ? over : cy * scale + 14}px`);
    };
    const hide = () => { tip.hidden = true; };
    for (const line of lines) {
      const shift = (line.apart || 0) * 14;
      const group = s("g", { class: `${line.of ? line.of.colour : "grey"} line`, "data-key": line.of ? line.of.key : null });
      const at = line.points.map((p) => [px(p.x) + shift, py(p.y)]);
      if (line.band && at.length > 1 && line.points.every((p) => finite(p.low) && finite(p.high))) {
        const edge = (p, v) => `${px(p.x).toFixed(1)},${py(Math.min(Math.max(v, y.low), y.high)).toFixed(1)}`;
        const ring = [...line.points.map((p) => edge(p, p.high)), ...[...line.points].reverse().map((p) => edge(p, p.low))];
        group.append(s("path", { d: `M${ring.join("L")}Z`, fill: "currentColor", opacity: 0.12 }));
      }
      group.append(s("path", { d: `M${at.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`, fill: "none",
        stroke: "currentColor", "stroke-width": line.dash ? 1.2 : 2, "stroke-dasharray": line.dash ? "5 4" : null }));
      line.points.forEach((p, i) => {
        const [cx, cy] = at[i];
        const point = s("g", { class: "point", transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})`,
          tabindex: line.focus ? 0 : null, role: "img", "aria-label": p.lines.join(", "),
          onmouseenter: () => show(p, cx, cy), onmouseleave: hide, onfocus: () => show(p, cx, cy), onblur: hide });
        if (line.bars && finite(p.low) && finite(p.high)) {
          const [a, b] = [py(p.high) - cy, py(p.low) - cy];
          point.append(s("path", { d: `M0,${a}V${b}M-3,${a}H3M-3,${b}H3`, stroke: "currentColor", "stroke-width": 1, fill: "none" }));
        }
        if (p.ring) point.append(s("circle", { class: "ring", r: 9 }));
        if (line.dash) point.append(s("circle", { r: 2.5, fill: "currentColor" }));
        else if (line.marks) point.append(mark(line.of, p.size || 5));
        point.append(s("circle", { class: "hit", r: 11 }));
        if (line.of) {
          point.addEventListener("click", () => choose(line.of.key));
          point.addEventListener("keydown", (event) => {
            if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(line.of.key); }
          });
        }
        group.append(point);
      });
      svg.append(group);
    }
    host.prepend(svg);
    host.append(tip);
    fade();
  };
  draw();
  const keysOf = lines.filter((line) => line.of).map((line) => line.of);
  host.append(h("ul", { class: "legend" },
    keysOf.map((of, i) => h("li", {}, h("button", { type: "button", "data-key": of.key, "aria-pressed": "false",
      onclick: () => choose(of.key) }, swatch(of), lines.filter((l) => l.of)[i].name || of.name))),
    lines.filter((line) => !line.of).slice(0, 1).map((line) => h("li", {}, h("span", { class: "key grey" }, "- - ", line.name))),
    rings && h("li", {}, h("span", { class: "key" }, "◯ Pareto front"))));
  fade();
  host.redraw = draw;
}
let width = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  document.querySelectorAll(".chart").forEach((host) => host.redraw && host.redraw());
}).observe(document.body);

function choose(key) {
  chosen = chosen === key ? null : key;
  fade();
}
function fade() {
  document.querySelectorAll("g[data-key]").forEach((g) =>
    g.classList.toggle("faded", chosen !== null && g.dataset.key !== chosen));
  document.querySelectorAll("button[data-key]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.key === chosen)));
  document.querySelectorAll("tr[data-key]").forEach((tr) => tr.classList.toggle("chosen", tr.dataset.key === chosen));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen !== null) choose(chosen);
});

const shares = (values, from = null, to = null) => {
  const known = values.filter(finite);
  const low = from ?? Math.max(0, Math.min(...known, 1) - 0.03), high = to ?? Math.min(1, Math.max(...known, 0) + 0.03);
  return { low, high, ticks: ticks(100 * low, 100 * high, 6).map((t) => t / 100), say: (t) => String(Math.round(1000 * t) / 10) };
};

/* ---- tables that sort ---- */

/* columns: [{name, title, kind: "num"|"name"|…, value(row), cell(row), head}], options: {caption, page, keyOf, open, opens, memory} */
function table(host, columns, rows, options = {}) {
  const memory = options.memory || {};
  let page = 0;
  const body = h("tbody"), opened = new Set();
  const heads = columns.map((column, i) => h("th", { scope: "col", class: column.kind, title: column.title },
    column.value ? h("button", { type: "button", onclick: () => sort(i) }, column.name) : column.head || column.name));
  const pager = h("div", { class: "pager" });
  const sorted = () => {
    const { order } = memory;
    if (!order) return rows;
    const { value } = columns[order.by], way = order.down ? -1 : 1;
    const missing = (v) => v === null || v === undefined || v === "" || Number.isNaN(v);
    return [...rows].sort((a, b) => {
      const [p, q] = [value(a), value(b)];
      if (missing(p) || missing(q)) return missing(p) - missing(q);
      return way * (typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q), "en", { numeric: true }));
    });
  };
  function sort(i) {
    const first = columns[i].kind === "num" && !columns[i].small;
    memory.order = memory.order?.by === i ? { by: i, down: !memory.order.down } : { by: i, down: first };
    page = 0;
    fill();
  }
  function fill() {
    const { order } = memory;
    heads.forEach((th, i) => {
      if (!columns[i].value) return;
      th.setAttribute("aria-sort", !order || order.by !== i ? "none" : order.down ? "descending" : "ascending");
    });
    const all = sorted(), size = options.page || all.length;
    const pages = Math.max(1, Math.ceil(all.length / (size || 1)));
    page = Math.min(page, pages - 1);
    body.replaceChildren(...all.slice(page * size, (page + 1) * size).flatMap(line));
    if (!all.length) body.append(h("tr", {}, h("td", { colspan: columns.length, class: "none" }, "nothing here")));
    pager.hidden = pages < 2;
    pager.replaceChildren(
      h("button", { type: "button", class: "push", disabled: page === 0, onclick: () => turn(-1) }, "← before"),
      h("span", {}, `page ${page + 1} of ${pages}`),
      h("button", { type: "button", class: "push", disabled: page >= pages - 1, onclick: () => turn(1) }, "next →"));
    fade();
  }
  function turn(by) { page += by; fill(); host.scrollIntoView({ block: "start" }); }
  function line(row) {
    const cells = columns.map((column) => h("td", { class: column.kind }, column.cell ? column.cell(row) : String(column.value(row) ?? "–")));
    const tr = h("tr", { "data-key": options.keyOf ? options.keyOf(row) : null });
    tr.append(...cells);
    if (!options.open || (options.opens && !options.opens(row))) return [tr];
    const cell = cells.find((td) => td.classList.contains("opens")) || cells[0];
    const button = h("button", { type: "button", class: "opener", "aria-expanded": "false" }, ...cell.childNodes);
    cell.append(button);
    tr.classList.add("line");
    const under = h("tr", { class: "opened", hidden: true });
    const toggle = (to) => {
      if (to && !under.firstChild) under.append(h("td", { colspan: columns.length }, h("div", { class: "inside" }, options.open(row))));
      under.hidden = !to;
      button.setAttribute("aria-expanded", String(to));
      if (to) opened.add(row); else opened.delete(row);
    };
    tr.addEventListener("click", (event) => {
      if (event.target.closest("button") === button || !event.target.closest("button, a, summary")) {
        if (!String(getSelection())) toggle(under.hidden);
      }
    });
    if (opened.has(row)) toggle(true);
    return [tr, under];
  }
  host.replaceChildren(h("div", { class: "wide", tabindex: options.page ? null : 0, role: "region", "aria-label": options.caption },
    h("table", { "aria-label": options.caption }, h("thead", {}, h("tr", {}, heads)), body)), pager);
  fill();
  return { show(next) { rows = next; page = 0; fill(); } };
}

/* ---- the head ---- */

function flat(value, depth = 0) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.length ? value.map((v) => flat(v, depth + 1)).join(", ") : "none";
  if (typeof value === "object") {
    const inside = Object.entries(value).map(([k, v]) => `${k}: ${flat(v, depth + 1)}`).join(", ");
    return depth ? `(${inside})` : inside;
  }
  return String(value);
}
function head() {
  const { facts } = data, models = [...new Set(arms.map((arm) => arm.model))];
  const when = ["finished", "created", "started", "date"].map((name) => facts[name]).find((v) => typeof v === "string");
  $("lead").append([
    many(summary.problems, "problem"), many(summary.seeds.length, "seed"), many(arms.length, "arm"),
    `${many(models.length, "model")} (${models.join(", ")})`,
    `${count(summary.finished)} of ${many(summary.planned, "run")} finished`,
    when, `outthink ${data.version}`].filter(Boolean).join(" · "));
  const { sharing } = summary;
  if (sharing.alone_tokens > 0) {
    $("lead").after(h("p", { class: "note" }, `Arms shared their samples: ${count(sharing.new_tokens)} completion tokens were generated `
      + `where the arms alone would have needed ${count(sharing.alone_tokens)} (${percent(sharing.saved)} % saved).`));
  }
  const list = $("facts").querySelector("dl");
  const shown = { ...facts, seeds: summary.seeds, baseline: summary.baseline };
  for (const [name, value] of Object.entries(shown)) {
    if (name === "arms" || name === "problems") continue;
    list.append(h("dt", {}, name), h("dd", {}, flat(value)));
  }
  if (!summary.failed && !summary.unfinished) return;
  const errors = new Map();
  for (const problem of data.problems) problem.runs.forEach((rows, a) => rows.forEach((row) => {
    if (row[1] >= 0) return;
    const said = string(row[7]) || "no reason was given";
    if (!errors.has(said)) errors.set(said, [0, new Set()]);
    errors.get(said)[0] += 1;
    errors.get(said)[1].add(a + 1);
  }));
  const alarm = $("alarm");
  alarm.hidden = false;
  const lost = [summary.failed && `${count(summary.failed)} failed`, summary.unfinished && `${count(summary.unfinished)} did not finish`];
  alarm.append(h("strong", {}, `Of ${many(summary.planned, "run")}, ${lost.filter(Boolean).join(" and ")}. `), "The figures are over those that finished.");
  if (errors.size) {
    const worst = [...errors].sort((a, b) => b[1][0] - a[1][0]);
    alarm.append(h("ul", {}, worst.slice(0, 8).map(([said, [n, who]]) =>
      h("li", {}, `${count(n)} × ${said} (${who.size === 1 ? "arm" : "arms"} ${[...who].sort((a, b) => a - b).join(", ")})`)),
      worst.length > 8 ? h("li", {}, `and ${worst.length - 8} more kinds`) : null));
  }
}

/* ---- what is chosen for the whole page ---- */

const bins = summary.bins ? summary.bins.bins : [];
const axisNames = Object.keys(summary.axes);
const state = { axis: axisNames.includes("completion_tokens") ? "completion_tokens" : axisNames[0], bin: -1 };
const accuracy = (arm) => (state.bin < 0 ? arm.accuracy : bins[state.bin].arms[arm.label] || null);

function select(label, options, value, change) {
  const node = h("select", { onchange: () => change(node.value) },
    options.map(([v, text]) => h("option", { value: v, selected: String(v) === String(value) }, text)));
  return h("label", {}, label, node);
}
const binOptions = [[-1, `all ${count(summary.problems)} problems`], ...bins.map((b, i) => [i, `${b.name} (${many(b.problems, "problem")})`])];

function tools() {
  const host = $("tools");
  if (axisNames.length) host.append(select("cost", axisNames.map((a) => [a, summary.axes[a].unit]), state.axis,
    (v) => { state.axis = v; costChart(); costTables(); }));
  if (bins.length) {
    host.append(select("difficulty", binOptions, state.bin, (v) => { state.bin = +v; costChart(); armsTable(); list(); }));
  }
}

/* ---- accuracy against cost ---- */

function costChart() {
  const host = $("cost"), axis = summary.axes[state.axis];
  host.replaceChildren();
  const drawn = arms.filter((arm) => axis && arm.costs[state.axis] && arm.costs[state.axis].value > 0 && accuracy(arm) && finite(accuracy(arm).value));
  if (!drawn.length) {
    host.append(h("p", { class: "note" }, axis ? "No arm has both a cost on this axis and an accuracy." : "No cost was measured."));
    return;
  }
  const front = new Set(state.bin < 0 ? axis.pareto : []);
  const cost = (arm) => arm.costs[state.axis].value;
  const lines = keys.map((key, i) => {
    const mine = drawn.filter((arm) => keyOf(arm) === key).sort((a, b) => cost(a) - cost(b));
    return { of: series.get(key), marks: true, bars: true, focus: true, apart: (i + 0.5) / keys.length - 0.5, points: mine.map((arm) => {
      const e = accuracy(arm), c = arm.costs[state.axis];
      return { x: cost(arm), y: e.value, low: e.low, high: e.high, ring: front.has(arm.label), lines: [
        `${number.get(arm.label)}. ${arm.label}`, `accuracy ${percent(e.value)} % [${percent(e.low)}, ${percent(e.high)}]`,
        `${short(c.value)} [${short(c.low)}, ${short(c.high)}] ${axis.unit} a problem`,
        front.has(arm.label) ? "on the Pareto front" : null].filter(Boolean) };
    }) };
  }).filter((line) => line.points.length);
  const ceilings = [];
  if (state.axis === "completion_tokens" && state.bin < 0) {
    const seen = new Set();
    for (const key of keys) {
      const mine = drawn.filter((arm) => keyOf(arm) === key && arm.coverage).sort((a, b) => cost(a) - cost(b));
      const points = mine.map((arm) => {
        const last = arm.coverage.k.length - 1;
        return { x: cost(arm), y: arm.coverage.value[last], low: arm.coverage.low[last], high: arm.coverage.high[last],
          lines: [`coverage of ${arm.label}`, `pass@${arm.coverage.k[last]} ${percent(arm.coverage.value[last])} %`] };
      });
      const ids = points.map((p) => `${p.x} ${p.y}`);
      if (!points.length || ids.every((id) => seen.has(id))) continue;
      ids.forEach((id) => seen.add(id));
      ceilings.push({ name: "coverage: any candidate right", dash: true, points });
    }
  }
  const xs = drawn.map(cost), [low, high] = [Math.min(...xs) / 1.15, Math.max(...xs) * 1.15];
  const ys = [...lines, ...ceilings].flatMap((line) => line.points.flatMap((p) => (line.dash ? [p.y] : [p.y, p.low, p.high])));
  chart(host, { label: "Accuracy against cost", height: CHART, rings: front.size > 0, lines: [...ceilings, ...lines],
    x: { log: true, low, high, ticks: logTicks(low, high), say: short, label: `${axis.unit} a problem (mean, log scale)` },
    y: { ...shares(ys), label: "accuracy (% of problems)" } });
  const away = arms.length - drawn.length;
  $("cost-note").textContent = "Bars are 95 % intervals. Click a point, a line’s name or a row below to bring out a series, Escape to let go. "
    + (state.bin < 0 ? "" : `Accuracies are those on the bin “${bins[state.bin].name}”, costs those of all problems. `)
    + (away ? `${many(away, "arm")} without a cost on this axis, or without an accuracy, cannot be drawn.` : "");
}

/* ---- arms ---- */

function bar(d, ends) {
  const W = 110, at = (v) => 4 + ((v - ends[0]) / (ends[1] - ends[0] || 1)) * (W - 8);
  const svg = s("svg", { class: "bar", width: W, height: 14, viewBox: `0 0 ${W} 14`, "aria-hidden": true },
    s("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: 14 }));
  if (finite(d.low) && finite(d.high)) svg.append(s("line", { class: "span", x1: at(d.low), x2: at(d.high), y1: 7, y2: 7 }));
  svg.append(s("circle", { cx: at(d.value), cy: 7, r: 3 }));
  return svg;
}
const armsMemory = {};
function armsTable() {
  const differences = arms.map((arm) => arm.difference).filter(Boolean);
  const ends = [0, ...differences.flatMap((d) => [d.low, d.high, d.value])].filter(finite);
  const range = [Math.min(...ends), Math.max(...ends)];
  const sure = arms.some((arm) => arm.confidence), failures = arms.some((arm) => arm.failed);
  const ofBin = state.bin < 0 ? "" : ` on “${bins[state.bin].name}”`;
  const columns = [
    { name: "#", kind: "num", small: true, value: (a) => number.get(a.label) },
    { name: "arm", kind: "name", value: (a) => a.label, cell: (a) => h("span", { class: "named", title: a.strategy }, swatch(series.get(keyOf(a))), a.label) },
    manyModels && { name: "model", value: (a) => a.model },
    arms.some((a) => a.budget) && { name: "budget", value: (a) => a.budget },
    { name: `accuracy %${ofBin}`, kind: "num", title: "95 % interval over problems", value: (a) => accuracy(a)?.value ?? null,
      cell: (a) => withRange(accuracy(a), percent) },
    differences.length && { name: "difference", kind: "num", title: `to ${summary.baseline}, paired over all problems, in points`,
      value: (a) => (a.difference ? a.difference.value : null),
      cell: (a) => (!a.difference ? (a.label === summary.baseline ? "baseline" : "–")
        : h("span", { class: `bars ${series.get(keyOf(a)).colour}` }, bar(a.difference, range),
          h("span", { class: "none" }, `${signed(a.difference.value)} [${signed(a.difference.low)}, ${signed(a.difference.high)}]`))) },
    arms.some((a) => a.tokens_share) && { name: "tokens, of baseline", kind: "num", title: "completion tokens over those of the baseline, on the same problems",
      value: (a) => (a.tokens_share ? a.tokens_share.value : null),
      cell: (a) => (!a.tokens_share ? "–" : h("span", { title: `95 %: ${(100 * a.tokens_share.low).toFixed(0)} to ${(100 * a.tokens_share.high).toFixed(0)} %` }, `${(100 * a.tokens_share.value).toFixed(0)} %`)) },
    differences.length && { name: "p", kind: "num", small: true, title: "two-sided, of no difference", value: (a) => (a.difference ? a.difference.p : null),
      cell: (a) => (a.difference ? chance(a.difference.p) : "–") },
    differences.some((d) => finite(d.p_holm)) && { name: "p, Holm", kind: "num", small: true, title: "p after Holm’s correction for as many comparisons",
      value: (a) => a.difference?.p_holm ?? null, cell: (a) => chance(a.difference?.p_holm) },
    ...axisNames.map((axis) => ({ name: summary.axes[axis].unit, kind: "num", small: true, title: `${summary.axes[axis].unit} a problem, mean`,
      value: (a) => a.costs[axis]?.value ?? null,
      cell: (a) => (a.costs[axis] ? h("span", { title: `95 % interval ${short(a.costs[axis].low)} to ${short(a.costs[axis].high)}` }, short(a.costs[axis].value)) : "–") })),
    ...(sure ? [["ECE", "ece", "expected calibration error"], ["Brier", "brier", "mean squared error of the confidence"],
      ["AURC", "aurc", "area under the risk-coverage curve"]].map(([name, field, title]) => ({ name, kind: "num", small: true, title: `${title}, times 100`,
      value: (a) => a.confidence?.[field]?.value ?? null, cell: (a) => withRange(a.confidence?.[field], percent) })) : []),
    { name: "runs", kind: "num", value: (a) => a.runs },
    failures && { name: "failed", kind: "num", value: (a) => a.failed, cell: (a) => h("span", { class: a.failed ? "failed" : "" }, String(a.failed)) },
    { name: "stopped by", kind: "reason", value: (a) => stops(a) },
  ].filter(Boolean);
  table($("arms"), columns, arms, { caption: "Arms", keyOf, memory: armsMemory });
  $("arms").querySelectorAll("tbody").forEach((body) => body.addEventListener("click", (event) => {
    const tr = event.target.closest("tr[data-key]");
    if (tr && !String(getSelection())) choose(tr.dataset.key);
  }));
  $("arms-note").textContent = `The baseline is ${summary.baseline}. Brackets are 95 % intervals. A click on a heading sorts, a click on a row brings out its series.`
    + (state.bin < 0 ? "" : ` Only the accuracy is that of the chosen bin; all else is over all problems. ${summary.bins.how}`);
}
const stops = (arm) => Object.entries(arm.stopped).sort((a, b) => b[1] - a[1]).map(([why, n]) => `${why} ${n}`).join(", ");

/* ---- candidates and confidence ---- */

function moreCharts() {
  const host = $("charts");
  const add = (title, draw) => {
    const inner = h("div", { class: "chart" });
    host.append(h("div", {}, h("h3", {}, title), inner));
    draw(inner);
  };
  const last = (some) => [...new Map([...some].sort((a, b) => first(a) - first(b)).map((arm) => [keyOf(arm), arm])).values()]
    .sort((a, b) => series.get(keyOf(a)).place - series.get(keyOf(b)).place);
  const first = (arm) => Object.values(arm.costs)[0]?.value ?? 0;
  const covered = arms.filter((arm) => arm.coverage);
  if (covered.length) add("pass@k", (inner) => {
    const widest = new Map();
    for (const arm of covered) {
      const old = widest.get(keyOf(arm));
      if (!old || arm.coverage.k.at(-1) > old.coverage.k.at(-1)) widest.set(keyOf(arm), arm);
    }
    const same = new Map();
    for (const arm of widest.values()) {
      const id = JSON.stringify([arm.model, arm.coverage.value]);
      same.set(id, [...(same.get(id) || []), arm]);
    }
    const lines = [...same.values()].map(([arm, ...others]) => ({ of: series.get(keyOf(arm)),
      name: series.get(keyOf(arm)).name + (others.length ? ` and ${others.length} more on the same candidates` : ""), marks: true, band: true, points: arm.coverage.k.map((k, i) => ({
      x: k, y: arm.coverage.value[i], low: arm.coverage.low[i], high: arm.coverage.high[i],
      lines: [arm.label, `pass@${k} ${percent(arm.coverage.value[i])} % [${percent(arm.coverage.low[i])}, ${percent(arm.coverage.high[i])}]`] })) }));
    const ks = [...new Set(lines.flatMap((line) => line.points.map((p) => p.x)))].sort((a, b) => a - b);
    chart(inner, { label: "pass at k", height: 300, lines,
      x: { log: true, low: ks[0] / 1.1, high: ks.at(-1) * 1.1, ticks: ks, say: String, label: "k (candidates)" },
      y: { ...shares(lines.flatMap((line) => line.points.flatMap((p) => [p.low, p.high]))), label: "pass@k (% of problems)" } });
  });
  const sure = last(arms.filter((arm) => arm.confidence));
  const whole = { low: 0, high: 1, ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], say: (t) => String(Math.round(100 * t)) };
  if (sure.length) {
    add("Risk and coverage", (inner) => {
      const lines = sure.map((arm) => ({ of: series.get(keyOf(arm)), name: arm.label, band: true, points: arm.confidence.curve.coverage.map((c, i) => {
        const { accuracy: a, low, high } = arm.confidence.curve;
        const less = (v) => (finite(v) ? 1 - v : null);
        return { x: c, y: 1 - a[i], low: less(high[i]), high: less(low[i]),
          lines: [arm.label, `${percent(c)} % answered`, `${percent(1 - a[i])} % of them wrong [${percent(less(high[i]))}, ${percent(less(low[i]))}]`] };
      }) }));
      chart(inner, { label: "Risk against coverage", height: 300, lines, x: { ...whole, label: "coverage (% answered, surest first)" },
        // few answers say little: where less than half is answered a band may leave the picture
        y: { ...shares(lines.flatMap((line) => line.points.flatMap((p) => (p.x < 0.5 ? [p.y] : [p.y, p.high]))), 0), label: "risk (% wrong)" } });
    });
    add("Reliability", (inner) => {
      const lines = sure.map((arm) => {
        const most = Math.max(...arm.confidence.reliability.map((b) => b.n), 1);
        return { of: series.get(keyOf(arm)), name: arm.label, marks: true, points: arm.confidence.reliability.map((b) => ({ x: b.said, y: b.held,
          size: 2 + 4 * Math.sqrt(b.n / most), lines: [arm.label, `said ${percent(b.said)} %, held ${percent(b.held)} %`, many(b.n, "run")] })) };
      });
      chart(inner, { label: "Reliability", height: 300, lines, diagonal: true, x: { ...whole, label: "confidence (%)" }, y: { ...whole, label: "share right (%)" } });
    });
  }
  if (bins.length) add("By difficulty", (inner) => {
    const lines = last(arms).map((arm, i, all) => ({ of: series.get(keyOf(arm)), name: arm.label, marks: true, bars: true, apart: (i + 0.5) / all.length - 0.5,
      points: bins.map((b, x) => [b.arms[arm.label], x]).filter(([e]) => e && finite(e.value)).map(([e, x]) => ({ x, y: e.value, low: e.low, high: e.high,
        lines: [arm.label, `${bins[x].name}: ${percent(e.value)} % [${percent(e.low)}, ${percent(e.high)}]`] })) })).filter((line) => line.points.length);
    chart(inner, { label: "Accuracy by difficulty", height: 300, lines,
      x: { low: -0.4, high: bins.length - 0.6, ticks: bins.map((_, i) => i), say: (i) => bins[i].name, label: "bin" },
      y: { ...whole, label: "accuracy (% of problems)" } });
    inner.append(h("p", { class: "note" }, summary.bins.how));
  });
  if (host.childElementCount > 0) host.after(h("p", { class: "note" }, "One line a series: where an arm is named, it is the series’ most costly one."));
  $("more").hidden = !host.childElementCount;
}

/* ---- what an accuracy costs; the best at a budget ---- */

function costTables() {
  const host = $("tables"), axis = summary.axes[state.axis];
  host.replaceChildren();
  const add = (title, columns, rows, note) => {
    if (!rows.length) return;
    const inner = h("div");
    host.append(h("div", {}, h("h3", {}, title), inner, h("p", { class: "note" }, note)));
    table(inner, columns, rows, { caption: title, keyOf: (row) => row.key ?? null });
  };
  const keyed = (row) => ({ ...row, key: keyOf(row) });
  const called = (row) => series.get(row.key).name;
  const name = { name: "series", kind: "name", value: called, cell: (row) => h("span", { class: "named" }, swatch(series.get(row.key)), called(row)) };
  if (axis) {
    add("Mean accuracy over the range of costs", [name, { name: "%", kind: "num", value: (row) => row.area.value, cell: (row) => withRange(row.area, percent) }],
      axis.series.filter((row) => row.area && finite(row.area.value)).map(keyed),
      "Area under accuracy against the logarithm of the cost, over the range that all series share, divided by its width.");
    const targets = [...new Set(axis.to_reach.map((row) => row.target))].sort((a, b) => a - b);
    const reached = new Map(axis.series.map((row) => [keyOf(row), { key: keyOf(row), cost: {} }]));
    for (const row of axis.to_reach) reached.get(keyOf(row)).cost[row.target] = row.cost;
    const range = (e) => (e && finite(e.value) ? h("span", { title: `95 % interval ${short(e.low)} to ${short(e.high)}` }, short(e.value)) : h("span", { class: "none" }, "–"));
    add("Cost of an accuracy", [name, ...targets.map((target) => ({ name: `${percent(target, 0)} %`, kind: "num", small: true,
      value: (row) => row.cost[target]?.value ?? null, cell: (row) => range(row.cost[target]) }))], targets.length ? [...reached.values()] : [],
      `The ${axis.unit} a problem at which a series first reaches it, straight on the logarithm between its points; – where it does not.`);
  }
  add("Best within a budget", [{ name: "budget", kind: "num", small: true, value: (row) => row.budget, cell: (row) => short(row.budget) },
    { name: "chosen", kind: "name", value: (row) => row.chosen, cell: (row) => h("span", { class: "named" }, swatch(series.get(row.key)), row.chosen) },
    { name: "seen %", kind: "num", title: "on the half that it was chosen on", value: (row) => row.seen?.value ?? null, cell: (row) => (row.seen ? percent(row.seen.value) : "–") },
    { name: "reported %", kind: "num", title: "on the other half", value: (row) => row.reported?.value ?? null, cell: (row) => withRange(row.reported, percent) }],
    (summary.best_at[state.axis] || []).map((row) => ({ ...row, key: keyOf(arms[number.get(row.chosen) - 1]) })),
    "Chosen by one half of the problems (seen), reported on the other.");
  $("reach").hidden = !host.childElementCount;
}

/* ---- problems ---- */

const problems = data.problems.map((p, place) => {
  const marks = p.runs.map((rows) => {
    const done = rows.filter((row) => row[1] >= 0);
    return { share: done.length ? done.filter((row) => row[1]).length / done.length : null, done: done.length, failed: rows.length - done.length };
  });
  const known = marks.filter((m) => m.share !== null).map((m) => m.share);
  const question = string(p.question) ?? "", reference = string(p.reference);
  const found = p.answers.reduce((all, g) => [all[0] + g.right * g.count, all[1] + g.count], [0, 0]);
  return { ...p, place, marks, question, reference, share: known.length ? known.reduce((a, b) => a + b, 0) / known.length : null,
    pass: found[1] ? found[0] / found[1] : null, text: `${p.name}\n${question}\n${reference ?? ""}`.toLowerCase() };
});

function sign(m) {
  if (m.share === null) return m.failed ? ["!", "failed", "failed"] : ["·", "none", "not run"];
  if (m.share === 1) return ["●", "right", "right"];
  if (m.share === 0) return ["○", "wrong", "wrong"];
  return ["◐", "part", "sometimes right"];
}
function marksOf(p) {
  const by = { right: [], "sometimes right": [], wrong: [], failed: [] };
  const spans = p.marks.map((m, i) => {
    const [glyph, kind, word] = sign(m);
    if (by[word]) by[word].push(i + 1);
    return h("span", { class: kind, title: `${i + 1}. ${arms[i].label}: ${word}${m.done > 1 ? ` (${Math.round(m.share * m.done)} of ${m.done})` : ""}${m.failed ? `, ${m.failed} failed` : ""}` }, glyph);
  });
  return h("span", { role: "img", "aria-label": Object.entries(by).filter(([, some]) => some.length).map(([word, some]) => `${word}: ${some.join(", ")}`).join("; ") }, spans);
}

const wanted = { text: "", outcome: "any", right: "", wrong: "" };
const outcomes = {
  any: ["any outcome", () => true],
  differ: ["the arms differ", (p) => p.share !== null && p.share > 0 && p.share < 1],
  none: ["no arm right", (p) => p.share === 0],
  all: ["every arm right", (p) => p.share === 1],
  failed: ["a run failed", (p) => p.marks.some((m) => m.failed)],
};
let problemTable;

function list() {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const some = problems.filter((p) => (state.bin < 0 || !placed || p.bin === state.bin) && outcomes[wanted.outcome][1](p)
    && (wanted.right === "" || p.marks[wanted.right].share === 1) && (wanted.wrong === "" || p.marks[wanted.wrong].share === 0)
    && words.every((word) => p.text.includes(word)));
  problemTable.show(some);
  $("found").textContent = `${count(some.length)} of ${many(problems.length, "problem")}`
    + (state.bin >= 0 && placed ? ` (bin “${bins[state.bin].name}”)` : "") + ". ● right  ◐ with some seeds  ○ wrong  ! failed  · not run; "
    + "the numbers are those of the arms above.";
}
const placed = data.problems.some((p) => p.bin !== null);

function problemList() {
  const search = h("input", { type: "search", placeholder: "words in the question or name" });
  let timer;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { wanted.text = search.value; list(); }, 120);
  });
  const armOptions = [["", "any"], ...arms.map((arm, i) => [i, `${i + 1}. ${arm.label}`])];
  $("filters").append(h("label", {}, "search", search),
    select("outcome", Object.entries(outcomes).map(([k, [text]]) => [k, text]), "any", (v) => { wanted.outcome = v; list(); }),
    select("right", armOptions, "", (v) => { wanted.right = v; list(); }),
    select("and wrong", armOptions, "", (v) => { wanted.wrong = v; list(); }));
  const header = h("span", { "aria-label": "arms, by number" }, arms.map((arm, i) => h("span", { title: arm.label }, String(i + 1))));
  problemTable = table($("problems"), [
    { name: "problem", kind: "opens", value: (p) => p.place, cell: (p) => p.name },
    { name: "question", kind: "question", cell: (p) => (p.question.length > 160 ? `${p.question.slice(0, 157)}…` : p.question) },
    { name: "reference", kind: "reason", value: (p) => p.reference ?? "", cell: (p) => (p.reference === null ? "–" : p.reference.length > 60 ? `${p.reference.slice(0, 57)}…` : p.reference) },
    placed && { name: "bin", kind: "num", small: true, value: (p) => p.bin, cell: (p) => (p.bin === null ? "–" : bins[p.bin].name) },
    problems.some((p) => p.pass !== null) && { name: "pass@1 %", kind: "num", small: true, title: "share of all its candidates that are right", value: (p) => p.pass, cell: (p) => percent(p.pass, 0) },
    { name: "arms right %", kind: "num", small: true, title: "mean over the arms", value: (p) => p.share, cell: (p) => percent(p.share, 0) },
    { kind: "marks", head: header, cell: marksOf },
  ].filter(Boolean), problems, { caption: "Problems", page: PAGE, open: detail });
  list();
}

function verdict(right) {
  if (right < 0) return h("span", { class: "failed" }, "! failed");
  return h("span", { class: right ? "right" : "wrong" }, right ? "● right" : "○ wrong");
}
function detail(p) {
  const out = [h("h3", {}, p.name), h("div", { class: "full" }, p.question)];
  if (p.reference !== null) out.push(h("p", {}, "Reference: ", h("b", { class: "full" }, p.reference)));
  const rows = p.runs.flatMap((some, a) => some.map((row) => ({ a, row, key: keyOf(arms[a]) })));
  const host = h("div");
  const seeds = summary.seeds.length > 1, errors = rows.some(({ row }) => row[7] >= 0);
  table(host, [
    { name: "#", kind: "num", small: true, value: (r) => r.a + 1 },
    { name: "arm", kind: "name", value: (r) => arms[r.a].label },
    seeds && { name: "seed", kind: "num", small: true, value: (r) => r.row[0] },
    { name: "verdict", value: (r) => r.row[1], cell: (r) => verdict(r.row[1]) },
    { name: "answer", kind: "reason", value: (r) => string(r.row[2]) ?? "", cell: (r) => string(r.row[2]) ?? h("span", { class: "none" }, "none") },
    { name: "confidence %", kind: "num", value: (r) => r.row[3], cell: (r) => percent(r.row[3], 0) },
    { name: "candidates", kind: "num", value: (r) => r.row[8] },
    { name: "tokens", kind: "num", value: (r) => r.row[4], cell: (r) => count(r.row[4]) },
    { name: "calls", kind: "num", value: (r) => r.row[5] },
    { name: "stopped by", value: (r) => string(r.row[6]) ?? "" },
    errors && { name: "error", kind: "reason", value: (r) => string(r.row[7]) ?? "" },
  ].filter(Boolean), rows, { caption: `What each arm answered to ${p.name}`, keyOf: (r) => r.key });
  out.push(h("h3", {}, "What each arm answered"), host);
  for (const [m, model] of data.models.entries()) {
    const mine = p.answers.filter((g) => g.model === m);
    if (mine.length) out.push(h("h3", {}, data.models.length > 1 ? `Candidates of ${model}` : "Candidates"), candidates(p, mine, m));
  }
  return out;
}
function candidates(p, mine, m) {
  const host = h("div"), columns = data.scores.filter((c) => c.model === m);
  const scored = columns.map((c, i) => ({ name: columns.length > 1 ? `best score ${i + 1}` : "best score", kind: "num", title: `as in ${c.arms.join(", ")}`,
    value: (g) => g.scores[i], cell: (g) => short(g.scores[i]) }));
  table(host, [
    { name: "answer", kind: "opens name", value: (g) => string(g.answer) ?? "", cell: (g) => string(g.answer) ?? h("span", { class: "none" }, "no answer") },
    { name: "verdict", value: (g) => g.right, cell: (g) => verdict(g.right) },
    { name: "count", kind: "num", value: (g) => g.count },
    { name: "mean tokens", kind: "num", value: (g) => g.tokens, cell: (g) => short(g.tokens) },
    ...scored,
    mine.some((g) => g.logprob !== null) && { name: "mean logprob", kind: "num", value: (g) => g.logprob, cell: (g) => short(g.logprob) },
  ].filter(Boolean), mine, { caption: `Candidates for ${p.name}`, opens: (g) => g.rows.length > 0, open: (g) => texts(g, columns) });
  return host;
}
function texts(g, columns) {
  const many = (row, i) => (columns.length > 1 ? `score ${i + 1} ${short(row[5 + i])}` : `score ${short(row[5 + i])}`);
  const out = g.rows.map((row) => {
    const [seed, times, tokens, logprob, text] = row;
    const said = [summary.seeds.length > 1 ? `seed ${seed}` : null, times > 1 ? `drawn ${count(times)} times` : null, `${count(tokens)} tokens`,
      ...columns.map((_, i) => (row[5 + i] === null || row[5 + i] === undefined ? null : many(row, i))),
      logprob === null ? null : `logprob ${short(logprob)}`, text < 0 ? "text left out" : null].filter(Boolean).join(" · ");
    const box = h("details", {}, h("summary", {}, said));
    box.addEventListener("toggle", () => {
      if (box.open && box.childElementCount === 1) box.append(h("pre", {}, text < 0 ? "This text was left out to keep the page small." : string(text)));
    });
    return box;
  });
  if (g.rows.length < g.distinct) out.push(h("p", { class: "note" }, `${count(g.distinct - g.rows.length)} more were left out to keep the page small.`));
  return h("div", { class: "texts" }, out);
}

/* ---- the end ---- */

function foot() {
  const missing = [
    left.problems && `${many(left.problems, "problem")} on which the arms agree most`,
    left.candidates && `${many(left.candidates, "candidate")} (their counts are in the tables)`,
    left.texts && `the texts of ${many(left.texts, "candidate")}`,
  ].filter(Boolean);
  const host = $("foot");
  if (missing.length) host.append(h("p", {}, h("strong", {}, "Left out"), ` to keep the page within ${short(left.limit)} bytes: ${missing.join("; ")}. The result files have them.`));
  if (left.cut) host.append(h("p", {}, `${many(left.cut, "text")} longer than ${count(left.characters)} characters ${left.cut === 1 ? "is" : "are"} cut, with a mark where.`));
  host.append(h("p", {}, `Made by outthink ${data.version}. This file asks nothing of any network.`));
}

head();
tools();
costChart();
armsTable();
moreCharts();
costTables();
problemList();
foot();
})();
