// Any figure of a model over its nights, with what changed between them.

// Values are whole numbers times a power of ten; where all nights have the same there is one.
function nightly(data, packed) {
  const scale = 10 ** Math.abs(packed.power);
  const real = (whole) => (whole === null ? null : packed.power < 0 ? whole / scale : whole * scale);
  const all = (given) => (Array.isArray(given) ? given : data.times.map(() => given)).map(real);
  const margins = packed.margins === undefined ? null : all(packed.margins);
  return { values: all(packed.values), margins, above: packed.above === undefined ? margins : all(packed.above) };
}

const nightText = (minutes) => new Date(60000 * minutes).toISOString().slice(0, 16).replace("T", " ");
const fourDigits = (value) => {
  const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 12) }).replaceAll(",", "\u202f");
};

// A line for every change, and its words above the chart where the next line is not too near.
function changeLines(data, width) {
  const [first, last] = [data.times[0], data.times.at(-1)];
  const nights = data.changes.map(([night, words]) => ({ at: data.times[night], words }));
  const shapes = nights.map(({ at }) => ({
    type: "line", xref: "x", yref: "paper", x0: nightText(at), x1: nightText(at), y0: 0, y1: 1, layer: "below",
    line: { color: colour("muted"), width: 1, dash: "dot" },
  }));
  let free = Infinity;
  const annotations = [];
  for (const { at, words } of nights.toReversed()) {
    const place = width * (at - first) / Math.max(last - first, 1);
    if (free - place < 17) continue;
    free = place;
    annotations.push({
      xref: "x", yref: "paper", x: nightText(at), y: 1, text: words, showarrow: false, textangle: -90,
      xanchor: "center", yanchor: "bottom", font: { size: 11, color: colour("muted") },
    });
  }
  const longest = Math.max(0, ...annotations.map(({ text }) => plainText(text).length));
  return { shapes, annotations, margin: { l: 64, r: 24, t: 16 + 6.5 * longest, b: 56 } };
}

function historyTraces(data, packed, nights) {
  const unit = packed.unit ? `\u00a0${packed.unit}` : "";
  const dates = data.times.map(nightText);
  const side = data.kind === "unknown" ? "muted" : data.kind;
  const around = (night) => { const text = reachText(reachOf(nights, night)); return text ? ` ${text}` : ""; };
  const traces = [{
    type: "scatter", mode: "lines+markers", name: "measured", meta: dates.map((_, night) => night), x: dates, y: nights.values, connectgaps: false,
    line: { color: colour(side), width: 1.5 }, marker: { color: colour(side), size: dates.length > 60 ? 4 : 7, symbol: SYMBOLS[side] || "diamond" },
    error_y: nights.margins ? { type: "data", symmetric: false, array: nights.above, arrayminus: nights.margins, thickness: 1.2, width: 3, color: colour(side) } : { visible: false },
    text: nights.values.map((value, night) => (value === null ? "" : `${dates[night]} UTC<br>${fourDigits(value)}${around(night)}${unit}`)), hoverinfo: "text",
  }];
  const failed = data.failed[packed.cell];
  if (failed.length) traces.push({
    type: "scatter", mode: "markers", name: "not measured", meta: failed.map(([night]) => night), yaxis: "y2", x: failed.map(([night]) => dates[night]), y: failed.map(() => 0.03),
    marker: { symbol: "x", size: 8, color: colour("bad") }, cliponaxis: false,
    text: failed.map(([night, why]) => `${dates[night]} UTC<br>${why.replace(/(.{60}\S*) /g, "$1<br>")}`), hoverinfo: "text",
  });
  return traces;
}

// The figure in a sentence, for those who cannot see it too.
function historyWords(data, packed, nights, box) {
  const known = nights.values.map((value, night) => [value, night]).filter(([value]) => value !== null);
  const title = box.selectedOptions[0].textContent;
  const where = plainText(packed.where);
  const unit = packed.unit ? `\u00a0${packed.unit}` : "";
  const failed = data.failed[packed.cell].length;
  const better = packed.better ? `; ${packed.better} is better` : "";
  const head = `${title}${where ? ` ${where}` : ""}, ${known.length} of ${data.times.length} nights`;
  const tail = failed ? ` ${failed} night${failed === 1 ? "" : "s"} tried and measured nothing.` : "";
  if (!known.length) return `${head}.${tail}`;
  const values = known.map(([value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)].map(fourDigits);
  return `${head}: from ${low} to ${high}${unit}, the latest ${fourDigits(values.at(-1))}${unit} on ${nightText(data.times[known.at(-1)[1]]).slice(0, 10)}${better}.${tail}`;
}

// Text that was written for plotly, as a reader sees it.
const plainText = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

// How far the interval of a night reaches down and up; null where there is none.
const reachOf = ({ margins, above }, night) => (margins?.[night] === null || margins?.[night] === undefined ? null : [margins[night], above[night]]);
// The same to two digits, in one number where the sides differ by no more than a quarter.
function reachText(reach) {
  const [below, above] = reach || [0, 0];
  const [less, more] = [Math.min(below, above), Math.max(below, above)];
  const short = (size) => digits(Number(size.toPrecision(2)));
  if (!more) return "";
  return less < 0.75 * more ? `+${short(above)}\u00a0\u2212${short(below)}` : `\u00b1\u00a0${short(more)}`;
}
// A value with its unit and, lighter, its interval.
function withMargin(value, reach, unit = "") {
  const text = reachText(reach);
  return [`${fourDigits(value)}${unit}`, ...(text ? [" ", made("span", { class: "margin" }, text)] : [])];
}
const titledBox = (box, title) => { for (const [name, value] of Object.entries({ tabindex: "0", role: "group", "aria-label": title })) box.setAttribute(name, value); return box; };

// The values as a table, the newest first; filled when it is opened, as it is long.
function fillValues(data, id, details) {
  const packed = data.series[id];
  const nights = nightly(data, packed);
  const failed = new Map(data.failed[packed.cell]);
  const changes = new Map(data.changes.map(([night, _label, words]) => [night, words]));
  const value = (night) => {
    const found = nights.values[night];
    const text = found === null ? (failed.has(night) ? "failed" : "\u2013") : withMargin(found, reachOf(nights, night));
    return found === null && !failed.has(night) ? text : nightButton(data, id, night, text);
  };
  const said = (night) => [failed.get(night), changes.get(night)].filter(Boolean).map(plainText).join("; ");
  const order = data.times.map((_, night) => night).reverse();
  const heads = [["Night (UTC)", "text frozen"], [packed.unit ? `Value (${packed.unit})` : "Value", ""], ["What happened", "text wide"]];
  const table = titledBox(plainTable(heads, order.map((night) => [nightText(data.times[night]), value(night), said(night)])), "All values of the chosen figure");
  table.classList.add("narrow", "tall");
  $(".box", details)?.remove();
  details.append(table);
}

const nightButton = (data, id, night, text) => (data.evidence ? evidenceButton(nightName(data, id, night), ...[text].flat()) : text);

// The newest value beside those before, as Python's `Latest` has it.
function latestOf(data, id) {
  const packed = data.series[id];
  const nights = nightly(data, packed);
  const { values } = nights;
  const known = values.map((_, night) => night).filter((night) => values[night] !== null);
  if (!known.length) return null;
  const night = known.at(-1);
  const [most, least] = data.apart;
  const before = known.slice(-1 - most, -1).map((one) => values[one]);
  const sorted = before.toSorted((a, b) => a - b);
  const [low, high, middle] = [sorted[0], sorted.at(-1), (sorted.length - 1) / 2];
  const apart = before.length >= least && !(2 * low - high <= values[night] && values[night] <= 2 * high - low);
  return {
    id, packed, night, value: values[night], margin: reachOf(nights, night), apart, previous: before.at(-1), previousNight: known.at(-2), previousMargin: reachOf(nights, known.at(-2)),
    median: before.length ? (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2 : undefined,
  };
}

function changeText({ packed, value }, before) {
  if (before === undefined || (!before && packed.unit !== "%")) return "\u2013";
  const change = packed.unit === "%" ? value - before : 100 * (value / before - 1);
  const text = Math.abs(change).toFixed(1);
  return `${text === "0.0" ? "" : change < 0 ? "\u2212" : "+"}${text}\u00a0${packed.unit === "%" ? "points" : "%"}`;
}

// All figures with their latest values by where they were measured, those apart from the nights before first in each;
// made when it is opened, since there may be hundreds.
function fillLatest(data, details) {
  const places = new Map();
  for (const group of $$("optgroup", document.getElementById("history-figure"))) {
    places.set(group.label, $$("option", group).map((option) => latestOf(data, option.value)).filter(Boolean));
  }
  const heads = [["Figure", "text frozen"], ["Latest", ""], ["Night", "text"], ["Previous", ""], ["Latest to previous", ""], ["Median before", ""], ["Latest to median", ""]];
  const row = (one) => {
    const unit = one.packed.unit ? `\u00a0${one.packed.unit}` : "";
    const shown = (night, value, margin) => (value === undefined ? "\u2013" : nightButton(data, one.id, night, withMargin(value, margin, unit)));
    return [
      [plainText(one.packed.title), one.apart ? made("span", { class: "mark note" }, "apart") : ""], shown(one.night, one.value, one.margin), nightText(data.times[one.night]).slice(0, 10),
      shown(one.previousNight, one.previous, one.previousMargin), changeText(one, one.previous), one.median === undefined ? "\u2013" : `${fourDigits(one.median)}${unit}`, changeText(one, one.median),
    ];
  };
  details.append(...[...places].map(([place, found], index) => {
    const apart = found.filter((one) => one.apart);
    const count = `${found.length} ${found.length === 1 ? "figure" : "figures"}${apart.length ? `, ${apart.length} apart` : ""}`;
    const table = titledBox(plainTable(heads, [...apart, ...found.filter((one) => !one.apart)].map(row)), `Latest values, ${place}`);
    return made("details", { class: "more", ...(index ? {} : { open: "" }) }, made("summary", {}, `${place}: ${count}`), table);
  }));
}

// Where the nights are few each has a tick, with its date where that meets none after: the newest always has one. Of
// many plotly chooses.
function nightAxis(data, width) {
  if (data.times.length > 31) return {};
  const [first, last] = [data.times[0], data.times.at(-1)];
  const day = (one) => nightText(one).slice(0, 10);
  const count = new Map();
  for (const one of data.times) count.set(day(one), (count.get(day(one)) || 0) + 1);
  let free = Infinity;
  const ticktext = data.times.toReversed().map((one) => {
    const place = width * (one - first) / Math.max(last - first, 1);
    if (place > free) return "";
    free = place - 84;
    return count.get(day(one)) > 1 ? nightText(one).replace(" ", "<br>") : day(one);
  }).reverse();
  return { tickvals: data.times.map(nightText), ticktext };
}

// A point opens what stands behind it.
function openNight(data, id, night) {
  const name = nightName(data, id, night);
  if (name) openDrawer(name);
}

// What is left of what an address says of the figure.
function historyReads() {
  const box = $("[data-history]");
  return box ? { history: (id) => (Object.hasOwn(embedded(box.dataset.history).series, id) ? id : "") } : {};
}

// The figure that the address names, or the one that the page proposes.
function chooseFigure(data, select) {
  const asked = state.get("history");
  const usual = $$("option", select).find((option) => option.defaultSelected)?.value;
  select.value = asked && Object.hasOwn(data.series, asked) ? asked : usual;
  return usual;
}

function restoreHistory() {
  const box = $("[data-history][data-ready]");
  if (!box) return;
  chooseFigure(embedded(box.dataset.history), document.getElementById("history-figure"));
  drawHistory(box);
}

function drawHistory(box) {
  const data = embedded(box.dataset.history);
  const select = document.getElementById("history-figure");
  const details = document.getElementById("history-values");
  if (!box.dataset.ready) {
    box.dataset.ready = "1";
    const usual = chooseFigure(data, select);
    select.addEventListener("change", () => { state.change({ history: select.value === usual ? "" : select.value }, { step: true }); drawHistory(box); });
    details.addEventListener("toggle", () => { if (details.open) drawHistory(box); });
    const latest = document.getElementById("history-latest");
    latest?.addEventListener("toggle", () => { if (latest.open && !$("table", latest)) fillLatest(data, latest); });
  }
  const packed = data.series[select.value];
  const nights = nightly(data, packed);
  const unit = packed.unit ? ` (${packed.unit})` : "";
  const values = nights.values.filter((value) => value !== null);
  const fromZero = values.length && Math.min(...values) >= 0 && Math.min(...values) < 0.5 * Math.max(...values);
  const layout = {
    ...frame(), showlegend: data.failed[packed.cell].length > 0, ...changeLines(data, box.clientWidth - 90),
    legend: { ...frame().legend, y: -0.28, yanchor: "top" },
    xaxis: axis({ type: "date", showgrid: false, hoverformat: "%Y-%m-%d %H:%M", ...nightAxis(data, box.clientWidth - 130) }),
    yaxis: axis({ title: { text: `${packed.title}${unit}${BETTER[packed.better] || ""}`, font: { size: 13 } }, ...(fromZero ? { rangemode: "tozero" } : {}), nticks: 6 }),
    yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
  };
  document.getElementById("history-words").textContent = historyWords(data, packed, nights, select);
  if (details.open) fillValues(data, select.value, details);
  const first = !box.on;
  const drawn = window.Plotly.react(box, historyTraces(data, packed, nights), layout, settings);
  if (first) drawn.then(() => box.on("plotly_click", ({ points: [{ data: { meta }, pointIndex }] }) => openNight(data, select.value, meta[pointIndex])));
  return drawn;
}
