// The scatter plot of any two metrics: the frontier, what is beaten for certain, and the same in words and as a table.
//
// A plot's data has `points` and, for every metric, a column of their values: `v`, and `lo` and `hi` where some have an
// interval. A point on two axes has its value and ends on each; an end that is not known is null.

const SYMBOLS = { sparse: "circle", dense: "square", unknown: "diamond" };
const KINDS_IN_WORDS = { sparse: "sparse (MoE)", dense: "dense", unknown: "structure not counted" };
const NAMED = { frontier: 12, others: 5 };  // names in a sentence, the others are counted
const CROWD = 40;        // points from which on the bars of intervals stand back
const LABEL_LENGTH = 40;

const plotText = (text) => text.replace(/[&<>]/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" }[character]));
const shortened = (text) => (text.length > LABEL_LENGTH ? `${text.slice(0, LABEL_LENGTH - 1)}\u2026` : text);

// What is known ----------------------------------------------------------------------------------------------------

// Value, low and high of a point in a column; null where there is no value.
function valueIn(column, index) {
  const value = column.v[index];
  if (value === null) return null;
  return column.lo ? { value, low: column.lo[index], high: column.hi[index] } : { value, low: value, high: value };
}

// The points that have a value on both axes, and those of the same kind that have not.
function pointsOn(data, x, y, kind) {
  const [points, missing] = [[], []];
  data.points.forEach((point, index) => {
    if (kind && point.kind !== kind) return;
    const at = { ...point, index, x: valueIn(data.columns[x.key], index), y: valueIn(data.columns[y.key], index) };
    const out = [y, x].map((metric) => data.columns[metric.key].out?.[index]).find((number) => number !== undefined);
    if (out !== undefined) at.out = data.reasons[out];
    (at.x && at.y ? points : missing).push(at);
  });
  return { points, missing };
}

const gain = (metric, value) => (metric.direction === "higher" ? value : -value);
// The least and the most that an estimate may be worth; without an interval anything is possible.
function gains(metric, { low, high }) {
  if (low === null || high === null) return [-Infinity, Infinity];
  return metric.direction === "higher" ? [low, high] : [-high, -low];
}

// The points that no other beats: none is at least as good on both axes and better on one. By rising x.
function frontierOf(points, x, y) {
  if (!x.direction || !y.direction) return [];
  const worth = (point) => [gain(x, point.x.value), gain(y, point.y.value)];
  const order = points.map((point) => [point, worth(point)]).sort(([, a], [, b]) => b[0] - a[0] || b[1] - a[1]);
  const frontier = [];
  let last = null;
  for (const [point, [atX, atY]] of order) {
    if (last === null || atY > last[1] || (atX === last[0] && atY === last[1])) { frontier.push(point); last = [atX, atY]; }
  }
  return frontier.sort((a, b) => a.x.value - b.x.value);
}

// The points that another beats wherever in their intervals the values are.
function certainlyBeaten(points, x, y) {
  if (!x.direction || !y.direction) return new Set();
  const all = points.map((point) => [...gains(x, point.x), ...gains(y, point.y)]);
  const beats = (a, b) => a[0] >= b[1] && a[2] >= b[3] && (a[0] > b[1] || a[2] > b[3]);
  return new Set(points.filter((_, i) => all.some((other, j) => j !== i && beats(other, all[i]))));
}

// Drawing ----------------------------------------------------------------------------------------------------------

const inkOf = (kind) => (kind === "unknown" ? "muted" : kind);
const PALE = { sparse: "rest", dense: "rest-dense", unknown: "line" };

const isSpread = ({ low, high }) => low !== null && high !== null && low < high;
const intervalBars = (values, kind) => ({
  type: "data", visible: values.some(isSpread), symmetric: false, thickness: 1.2, width: 3,
  color: colour(inkOf(kind)), array: values.map(({ value, high }) => (high === null ? 0 : high - value)),
  arrayminus: values.map(({ value, low }) => (low === null ? 0 : value - low)),
});

// The intervals of many points as one line with gaps, which is drawn much faster than a bar for each.
function intervalsTrace(kind, points, { x, y }) {
  const [xs, ys] = [[], []];
  const end = (metric, { value }, at) => (metric.log ? Math.max(at, value / 1000) : at);
  for (const point of points) {
    if (isSpread(point.x)) { xs.push(end(x, point.x, point.x.low), point.x.high, null); ys.push(point.y.value, point.y.value, null); }
    if (isSpread(point.y)) { xs.push(point.x.value, point.x.value, null); ys.push(end(y, point.y, point.y.low), point.y.high, null); }
  }
  return { type: "scatter", mode: "lines", x: xs, y: ys, hoverinfo: "skip", showlegend: false, line: { color: colour(PALE[kind]), width: 0.8, simplify: false } };
}

const titleOf = (metric) => `${metric.title}${metric.at ? ` ${metric.at}` : ""}`;

function valueText({ value, low, high }, metric, places = 3) {
  const unit = metric.unit ? `\u00a0${metric.unit}` : "";
  if (low === null || high === null) return `${significant(value, places)}${unit} (no interval)`;
  return `${significant(value, places)}${unit}${low < high ? ` (${significant(low, places)} to ${significant(high, places)})` : ""}`;
}

const MOST_DIGITS = 6;

// The digits of a value down to the second of half its interval; three where that is fewer, or no interval is known.
function justified({ value, low, high }) {
  if (low === null || high === null || !value) return 3;
  if (low === high) return MOST_DIGITS;
  const half = Number(((high - low) / 2).toPrecision(2));
  return Math.min(MOST_DIGITS, Math.max(3, Math.floor(Math.log10(Math.abs(value))) - Math.floor(Math.log10(half)) + 2));
}

// How many digits the values of a frontier need on an axis to differ from their neighbours, as far as their intervals
// have so many; and of each that is still like the next the axis.
function digitsOf(line, name) {
  const places = new Map(line.map((point) => [point, 3]));
  const alike = new Set();
  line.slice(1).forEach((next, i) => {
    const pair = [line[i], next];
    const [a, b] = pair.map((point) => point[name]);
    if (a.value === b.value) return;
    const most = Math.min(...pair.map((point) => justified(point[name])));
    let needed = 3;
    while (needed < most && significant(a.value, needed) === significant(b.value, needed)) needed += 1;
    if (significant(a.value, needed) === significant(b.value, needed)) alike.add(next);
    else for (const point of pair) places.set(point, Math.max(places.get(point), needed));
  });
  // the others have as many, as far as they may, so that a column is even
  const most = Math.max(3, ...places.values());
  for (const point of line) places.set(point, Math.max(places.get(point), Math.min(most, justified(point[name]))));
  return { places, alike };
}

function paretoTrace(kind, points, { x, y, places, beaten, crowded }) {
  const text = (metric, one) => `${plotText(titleOf(metric))}: ${plotText(valueText(one, metric))}`;
  const [ink, pale, paper] = [inkOf(kind), PALE[kind], "paper"].map(colour);
  const bars = crowded ? {} : { error_x: intervalBars(points.map((point) => point.x), kind), error_y: intervalBars(points.map((point) => point.y), kind) };
  return {
    type: "scatter", mode: places.size ? "markers+text" : "markers", name: KINDS_IN_WORDS[kind], cliponaxis: false,
    x: points.map((point) => point.x.value), y: points.map((point) => point.y.value),
    ...bars,
    text: points.map((point) => (places.get(point) ? plotText(shortened(point.name)) : "")),
    textposition: points.map((point) => places.get(point) || "top center"),
    textfont: { size: 12, color: colour("ink") },
    marker: {
      size: points.length > 20 ? 9 : 12, symbol: points.map((point) => SYMBOLS[kind] + (point.hollow ? "-open" : "")),
      color: points.map((point) => (beaten.has(point) && !point.hollow ? pale : ink)), opacity: 1,
      line: { width: 1, color: points.map((point) => (point.hollow || beaten.has(point) ? ink : paper)) },
    },
    customdata: points.map((point) => point.href), meta: points.map((point) => point.index),
    hovertext: points.map((point) => `<b>${plotText(point.name)}</b>${plotText(point.note || "")}<br>${text(x, point.x)}<br>${text(y, point.y)}`), hoverinfo: "text",
  };
}

const ends = ({ value, low, high }) => [value, low ?? value, high ?? value];

// From the lowest to the highest end of an interval with a margin around, as plotly wants it (exponents for logs). On a
// logarithmic axis no further than thrice beyond the values: an interval down to nothing would fill it.
function range(values, metric) {
  const known = values.map(({ value }) => value);
  const [least, most] = [Math.min(...known) / 3, Math.max(...known) * 3];
  const found = values.flatMap(ends).map((value) => (metric.log ? Math.log10(Math.min(most, Math.max(least, value))) : value));
  const [low, high] = [Math.min(...found), Math.max(...found)];
  const pad = 0.07 * (high - low) || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}

// Every label, those on the frontier first and of a crowd no others, takes the first of eight places where it meets no label placed before,
// point, interval or frontier; where there is none it is left out, and the point explains itself when pointed at.
function labelPlaces(points, line, guides, [x, y], box) {
  const scale = (metric, name, length) => {
    const [low, high] = range(points.map((point) => point[name]), metric);
    return (value) => (((metric.log ? Math.log10(value) : value) - low) / (high - low)) * length;
  };
  const width = box.clientWidth - 90;
  const [atX, atY] = [scale(x, "x", width), scale(y, "y", box.clientHeight - 95)];
  const across = (point) => ends(point.x).map(atX);
  const up = (point) => ends(point.y).map(atY);
  const xs = points.map((point) => across(point)[0]);
  const ys = points.map((point) => -up(point)[0]);
  const taken = points.map((_, i) => [xs[i] - 8, ys[i] - 8, xs[i] + 8, ys[i] + 8]);
  for (const guide of guides) {
    const [px, py] = [atX(guide.x[1]), -atY(guide.y[1])];
    taken.push([px - 7 * guide.name.length, py - 20, px, py]);
  }
  for (const point of points.length > CROWD ? line : points) {
    const [[px, left, right], [py, low, high]] = [across(point), up(point)];
    taken.push([left, -py - 1, right, -py + 1], [px - 1, -high, px + 1, -low]);
  }
  line.slice(1).forEach((next, i) => {
    const [[ax, ay], [bx, by]] = [line[i], next].map((point) => [across(point)[0], -up(point)[0]]);
    const [level, turn] = x.direction === "lower" ? [ay, bx] : [by, ax];
    taken.push([ax, level - 1, bx, level + 1], [turn - 1, Math.min(ay, by), turn + 1, Math.max(ay, by)]);
  });
  const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  const places = new Map();
  const first = new Set(line);
  const turns = points.map((_, i) => i).filter((i) => points.length <= CROWD || !line.length || first.has(points[i])).sort((a, b) => Number(!first.has(points[a])) - Number(!first.has(points[b])) || a - b);
  turns.forEach((i) => {
    const length = shortened(points[i].name).length * 7.3;
    const at = { right: xs[i] + 9, left: xs[i] - 9 - length, center: xs[i] - length / 2 };
    const level = { middle: ys[i] - 8, top: ys[i] - 25, bottom: ys[i] + 9 };
    const order = ["middle right", "middle left", "top right", "bottom right", "top left", "bottom left", "top center", "bottom center"];
    const inside = (area) => area[0] > 0 && area[2] < width;
    for (const place of order) {
      const [vertical, horizontal] = place.split(" ");
      const area = [at[horizontal], level[vertical], at[horizontal] + length, level[vertical] + 16];
      if (inside(area) && !taken.some((other, j) => j !== i && meets(area, other))) {
        taken.push(area);
        places.set(points[i], place);
        return;
      }
    }
    places.set(points[i], null);
  });
  return places;
}

const BETTER = { higher: ", \u2191 better", lower: ", \u2193 better" };

function paretoAxis(metric, values) {
  const better = metric.neutral ? ", taken as a cost" : BETTER[metric.direction] || "";
  const title = `${plotText(titleOf(metric))}${metric.unit ? ` (${metric.unit})` : ""}${better}`;
  const [low, high] = values.length ? range(values, metric) : [0, 1];
  return axis({ title: { text: title, standoff: 8, font: { size: 13 } }, type: metric.log ? "log" : "linear", range: [low, high], nticks: 7, ...(metric.log ? { dtick: high - low > 2.5 ? 1 : "D2" } : {}) });
}

// Straight lines through a pair of axes, such as equal shares of active parameters, each with its name at its end.
function guideTraces(guides) {
  return guides.map((guide) => ({
    type: "scatter", mode: "lines+text", x: guide.x, y: guide.y, hoverinfo: "skip", showlegend: false,
    line: { color: colour("line"), width: 1 }, text: ["", guide.name], textposition: "top left", cliponaxis: false, textfont: { size: 11, color: colour("muted") },
  }));
}

function frontierTrace(line, x) {
  return {
    type: "scatter", mode: "lines", name: "frontier", hoverinfo: "skip", line: { color: colour("muted"), width: 1.5, dash: "dot", shape: x.direction === "lower" ? "hv" : "vh" },
    x: line.map((point) => point.x.value), y: line.map((point) => point.y.value),
  };
}

// Controls ---------------------------------------------------------------------------------------------------------

const control = (name) => document.getElementById(`pareto-${name}`);
const pressedKind = () => $("[data-pareto-kind][aria-pressed='true']")?.dataset.paretoKind || "";

const dataOf = (box) => (box.paretoData ??= embedded(box.dataset.pareto));

// What an address says of the axes; what it does not name, or names and is not there, is as the page proposes it.
function restoreAxes() {
  for (const box of $$("[data-pareto]")) {
    const data = dataOf(box);
    for (const name of ["x", "y"]) {
      const metric = data.metrics.find((one) => one.key === (state.get(name) || data[name])) || data.metrics.find((one) => one.key === data[name]);
      control(name).value = metric.key;
      const log = control(`${name}-log`);
      if (log) log.checked = state.get(`${name}log`) ? state.get(`${name}log`) === "1" : metric.log;
    }
    const kind = $$("[data-pareto-kind]").some((chip) => chip.dataset.paretoKind === state.get("kind")) ? state.get("kind") : "";
    for (const chip of $$("[data-pareto-kind]")) chip.setAttribute("aria-pressed", String(chip.dataset.paretoKind === kind));
    if (box.dataset.ready) drawPareto(box); else if (box.dataset.told) tellPareto(plotOf(box));
  }
}

function keepAxes(data) {
  const named = $("[data-pareto-kind]") ? { kind: pressedKind() } : {};
  for (const name of ["x", "y"]) {
    const value = control(name).value;
    named[name] = value === data[name] ? "" : value;
    const [log, metric] = [control(`${name}-log`), data.metrics.find((one) => one.key === value)];
    if (log) named[`${name}log`] = log.checked === metric.log ? "" : String(Number(log.checked));
  }
  state.change(named, { step: true });
}

// What is left of what an address says of the axes.
function axesReads() {
  const box = $("[data-pareto]");
  if (!box) return {};
  const metric = (key) => (dataOf(box).metrics.some((one) => one.key === key) ? key : "");
  const log = (text) => (text === "0" || text === "1" ? text : "");
  const kind = (name) => ($$("[data-pareto-kind]").some((chip) => chip.dataset.paretoKind === name) ? name : "");
  return {
    x: metric, y: metric, ...(control("x-log") ? { xlog: log } : {}), ...(control("y-log") ? { ylog: log } : {}),
    ...($("[data-pareto-kind]") ? { kind } : {}),
  };
}

function connectAxes(box, data) {
  const redraw = () => { keepAxes(data); drawPareto(box); };
  for (const name of ["x", "y"]) {
    control(name).addEventListener("change", () => {
      const log = control(`${name}-log`);
      if (log) log.checked = data.metrics.find((one) => one.key === control(name).value).log;
      redraw();
    });
    control(`${name}-log`)?.addEventListener("change", redraw);
  }
  control("swap")?.addEventListener("click", () => {
    for (const [field, suffix] of [["value", ""], ["checked", "-log"]]) {
      const [x, y] = [control(`x${suffix}`), control(`y${suffix}`)];
      [x[field], y[field]] = [y[field], x[field]];
    }
    redraw();
  });
  for (const chip of $$("[data-pareto-kind]")) chip.addEventListener("click", () => {
    for (const other of $$("[data-pareto-kind]")) other.setAttribute("aria-pressed", String(other === chip));
    redraw();
  });
}

// A point leads to what stands behind its two values, or to its place on the page.
function openPoint(plot, index) {
  const point = plot.points.find((one) => one.index === index);
  const names = [plot.y, plot.x].map((metric) => evidenceAt(point, metric));
  if (names.every(Boolean)) openDrawer([...new Set(names)].join(" ")); else if (point.href) visit(point.href);
}

// An axis as it is chosen: logarithmic only where every value is positive.
function chosenAxis(data, name) {
  const metric = data.metrics.find((one) => one.key === control(name).value);
  const log = control(`${name}-log`);
  const positive = data.columns[metric.key].v.every((value) => value === null || value > 0);
  if (log) { log.disabled = !positive; if (!positive) log.checked = false; }
  return { ...metric, log: log ? log.checked : metric.log };
}

// What is to be drawn with the axes as they are chosen.
function plotOf(box) {
  const data = dataOf(box);
  const [x, y] = [chosenAxis(data, "x"), chosenAxis(data, "y")];
  const plot = { x, y, ...pointsOn(data, x, y, pressedKind()) };
  plot.line = frontierOf(plot.points, x, y);
  plot.beaten = certainlyBeaten(plot.points, x, y);
  return plot;
}

// The words and the controls, for which no library is needed: they are there before the chart, so that it moves nothing.
function tellFirst(box) {
  if (box.dataset.told) return;
  restoreAxes();
  connectAxes(box, dataOf(box));
  box.dataset.told = "1";
  tellPareto(plotOf(box));
}

function drawPareto(box) {
  tellFirst(box);
  if (!window.Plotly) { tellPareto(plotOf(box)); return null; }
  const [data, first] = [dataOf(box), !box.dataset.ready];
  const plot = plotOf(box);
  const { x, y } = plot;
  plot.crowded = plot.points.length > CROWD;
  const guides = (data.guides || {})[`${x.key}|${y.key}`] || [];
  plot.places = plot.points.length ? labelPlaces(plot.points, plot.line, guides, [x, y], box) : new Map();
  // those that are not pale first, since the legend is drawn like the first
  const ordered_ = [...plot.points].sort((a, b) => plot.beaten.has(a) - plot.beaten.has(b));
  const kinds = Object.keys(SYMBOLS).map((kind) => [kind, ordered_.filter((point) => point.kind === kind)]).filter(([, some]) => some.length);
  const traces = [...(plot.crowded ? kinds.map(([kind, some]) => intervalsTrace(kind, some, plot)) : []), ...kinds.map(([kind, some]) => paretoTrace(kind, some, plot))];
  const layout = { ...frame(), xaxis: paretoAxis(x, plot.points.map((point) => point.x)), yaxis: paretoAxis(y, plot.points.map((point) => point.y)) };
  const guidesCaption = document.getElementById("pareto-guides");
  if (guidesCaption) guidesCaption.hidden = !guides.length;
  if (!first) tellPareto(plot);
  const drawn = window.Plotly.react(box, [...guideTraces(guides), ...(plot.line.length ? [frontierTrace(plot.line, x)] : []), ...traces], layout, settings);
  box.plot = plot;
  if (first) {
    box.dataset.ready = "1";
    drawn.then(() => box.on("plotly_click", ({ points: [{ data: { meta }, pointIndex }] }) => { if (meta) openPoint(box.plot, meta[pointIndex]); }));
  }
  return drawn;
}
