// What a page does in the browser: theme, explanations, tables (DataTables) and charts (plotly). No request is made.
"use strict";

(() => {
  const root = document.documentElement;
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const escaped = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
  const embedded = (id) => JSON.parse(document.getElementById(id).textContent);

  // Theme -----------------------------------------------------------------------------------------------------------
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

  function applyTheme() {
    root.classList.toggle("dark", isDark());
    const button = $(".theme");
    if (button) button.textContent = isDark() ? "Light theme" : "Dark theme";
    drawCharts();
  }

  function switchTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("moebench-theme", root.dataset.theme); } catch { /* a browser may keep nothing for files */ }
    applyTheme();
  }

  // Explanations of marks -------------------------------------------------------------------------------------------
  function placeTip(mark) {
    const tip = $("#tip");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const from = mark.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, from.left), root.clientWidth - size.width - 8);
    const below = from.bottom + 6 + size.height < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? from.bottom + 6 : Math.max(8, from.top - size.height - 6)}px`;
  }

  function listenForTips() {
    let shown = null;
    const hide = () => { shown = null; $("#tip").hidden = true; };
    const show = (event) => {
      const mark = event.target instanceof Element && event.target.closest("[data-tip]");
      if (mark) { shown = mark; placeTip(mark); } else if (shown !== document.activeElement) hide();
    };
    const follow = () => { if (shown && shown === document.activeElement) placeTip(shown); else hide(); };
    for (const type of ["mouseover", "focusin", "click"]) document.addEventListener(type, show);
    document.addEventListener("focusout", hide);
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
    window.addEventListener("scroll", follow, { passive: true, capture: true });
  }

  // Tables ----------------------------------------------------------------------------------------------------------
  // Cells without a number stay at the end, whichever way a column is sorted.
  const ordered = (sign) => (a, b) => {
    const [x, y] = [a, b].map((value) => (value === "" || value === null ? NaN : Number(value)));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (x - y);
  };

  function prepareTable(table) {
    const DataTable = window.moebenchTables.jQuery.fn.dataTable;
    DataTable.type("measured", { className: "", order: { asc: ordered(1), desc: ordered(-1) } });
    const api = new DataTable(table, {
      paging: false, info: false, titleRow: 1, autoWidth: false, order: [],
      layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
      language: { zeroRecords: "No model matches." },
      columnDefs: [
        { targets: ".numeric", type: "measured", searchable: false },
        { targets: ".higher", orderSequence: ["desc", "asc"] },
        { targets: ".text", type: "string" },
        { targets: ".later", visible: false },
      ],
    });
    const toolbar = document.getElementById(table.dataset.toolbar);
    if (toolbar) connectToolbar(toolbar, api, DataTable);
  }

  function connectToolbar(toolbar, api, DataTable) {
    const count = $(".count", toolbar);
    const total = api.rows().count();
    const report = () => {
      const shown = api.rows({ search: "applied" }).count();
      count.textContent = `${shown} of ${total} model${total === 1 ? "" : "s"}`;
    };
    api.on("draw", report);
    $("input[type=search]", toolbar).addEventListener("input", (event) => api.search(event.target.value).draw());
    const chips = $$("[data-filter]", toolbar);
    for (const chip of chips) chip.addEventListener("click", () => {
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      const wanted = chip.dataset.filter;
      api.search.fixed("kind", (_text, _data, index) => !wanted || api.row(index).node().dataset.kind === wanted).draw();
    });
    const title = (table, index) => escaped(table.column(index).header().dataset.name || table.column(index).header().dataset.label); // DataTables takes it for HTML
    const buttons = new DataTable.Buttons(api, {
      buttons: [{ extend: "colvis", text: "Columns", fade: 0, columns: ":not(.frozen)", columnText: title }],
    });
    $(".slot", toolbar).append(buttons.container()[0]);
    report();
  }

  // Charts ----------------------------------------------------------------------------------------------------------
  // Figures name colours as "@sparse"; they are looked up in the style sheet, so that a theme changes them all.
  function colour(name) {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }

  function coloured(value, key = "") {
    if (Array.isArray(value)) return value.map((item) => coloured(item, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name)]));
    }
    return typeof value === "string" && value[0] === "@" && key.endsWith("color") ? colour(value.slice(1)) : value;
  }

  const frame = () => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: false, separators: ".\u202f",
    font: { family: getComputedStyle(root).fontFamily, size: 13, color: colour("ink") },
    hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour("ink") }, itemclick: false, itemdoubleclick: false, traceorder: "normal" },
    margin: { l: 64, r: 24, t: 36, b: 56 }, showlegend: true,
  });
  const axis = (given) => ({
    gridcolor: colour("line"), linecolor: colour("muted"), zeroline: false, ticks: "outside", tickcolor: colour("muted"),
    automargin: true, exponentformat: "none", ...coloured(given),
  });
  const settings = { displaylogo: false, responsive: true, displayModeBar: false };

  function drawFigure(box) {
    const figure = embedded(box.dataset.figure);
    const layout = { ...frame(), ...coloured(figure.layout) };
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = axis(figure.layout[name]);
      layout[name].title = { ...layout[name].title, font: { size: 13 } };
    }
    return window.Plotly.react(box, coloured(figure.data), layout, settings);
  }

  const interval = (values, side) => ({
    type: "data", visible: values.some(([, low, high]) => low < high), symmetric: false, thickness: 1.2, width: 3, color: colour(side.color),
    array: values.map(([value, , high]) => high - value), arrayminus: values.map(([value, low]) => value - low),
  });

  const SYMBOLS = { sparse: "circle", dense: "square" };

  function paretoTrace(kind, points, x, y, places) {
    const values = (metric) => points.map((point) => point.values[metric.key]);
    const text = (metric, point) => `${metric.title}: ${point.texts[metric.key]}${metric.unit ? ` ${metric.unit}` : ""}`;
    return {
      type: "scatter", mode: "markers+text", name: kind === "sparse" ? "sparse (MoE)" : "dense", cliponaxis: false,
      x: values(x).map(([value]) => value), y: values(y).map(([value]) => value),
      error_x: interval(values(x), { color: kind }), error_y: interval(values(y), { color: kind }),
      text: points.map((point) => (places.get(point) ? point.name : "")), textposition: points.map((point) => places.get(point) || "top center"),
      textfont: { size: 12, color: colour("ink") },
      marker: {
        size: points.length > 20 ? 9 : 12, symbol: points.map((point) => SYMBOLS[kind] + (point.hollow ? "-open" : "")), color: colour(kind),
        line: { width: 1, color: points.map((point) => colour(point.hollow ? kind : "paper")) },
      },
      customdata: points.map((point) => point.href),
      hovertext: points.map((point) => `<b>${point.name}</b><br>${text(x, point)}<br>${text(y, point)}`), hoverinfo: "text",
    };
  }

  // From the lowest to the highest end of an interval with a margin around, as plotly wants it (exponents for logs).
  function range(points, metric) {
    const ends = points.flatMap((point) => point.values[metric.key]).filter((value) => !metric.log || value > 0)
      .map((value) => (metric.log ? Math.log10(value) : value));
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const pad = 0.07 * (high - low) || Math.abs(high) * 0.1 || 1;
    return [low - pad, high + pad];
  }

  // Every label, those on the frontier first, takes the first of eight places where it meets no label placed before,
  // point, interval or frontier; where there is none it is left out, and the point explains itself when pointed at.
  function labelPlaces(points, line, guides, [x, y], box) {
    const scale = (metric, length) => {
      const [low, high] = range(points, metric);
      return (value) => (((metric.log ? Math.log10(value) : value) - low) / (high - low)) * length;
    };
    const width = box.clientWidth - 90;
    const [atX, atY] = [scale(x, width), scale(y, box.clientHeight - 95)];
    const across = (point) => point.values[x.key].map(atX);
    const up = (point) => point.values[y.key].map(atY);
    const xs = points.map((point) => across(point)[0]);
    const ys = points.map((point) => -up(point)[0]);
    const taken = points.map((_, i) => [xs[i] - 8, ys[i] - 8, xs[i] + 8, ys[i] + 8]);
    for (const guide of guides) {
      const [px, py] = [atX(guide.x[1]), -atY(guide.y[1])];
      taken.push([px - 7 * guide.name.length, py - 20, px, py]);
    }
    for (const point of points) {
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
    const first = (point) => Number(!line.includes(point));
    const turns = points.map((_, i) => i).sort((a, b) => first(points[a]) - first(points[b]) || a - b);
    turns.forEach((i) => {
      const point = points[i];
      const length = point.plain.length * 7.3;
      const at = { right: xs[i] + 9, left: xs[i] - 9 - length, center: xs[i] - length / 2 };
      const level = { middle: ys[i] - 8, top: ys[i] - 25, bottom: ys[i] + 9 };
      const order = ["middle right", "middle left", "top right", "bottom right", "top left", "bottom left", "top center", "bottom center"];
      const inside = (area) => area[0] > 0 && area[2] < width;
      for (const place of order) {
        const [vertical, horizontal] = place.split(" ");
        const area = [at[horizontal], level[vertical], at[horizontal] + length, level[vertical] + 16];
        if (inside(area) && !taken.some((other, j) => j !== i && meets(area, other))) {
          taken.push(area);
          places.set(point, place);
          return;
        }
      }
      places.set(point, null);
    });
    return places;
  }

  const BETTER = { higher: ", \u2191 better", lower: ", \u2193 better" };

  function paretoAxis(metric, points) {
    const title = `${metric.title}${metric.unit ? ` (${metric.unit})` : ""}${BETTER[metric.direction] || ""}`;
    const [low, high] = range(points, metric);
    const decades = high - low;
    return axis({ title: { text: title, standoff: 8, font: { size: 13 } }, type: metric.log ? "log" : "linear", range: [low, high], nticks: 7, ...(metric.log ? { dtick: decades > 2.5 ? 1 : "D2" } : {}) });
  }

  // Straight lines through a pair of axes, such as equal shares of active parameters, each with its name at its end.
  function guideTraces(guides) {
    return guides.map((guide) => ({
      type: "scatter", mode: "lines+text", x: guide.x, y: guide.y, hoverinfo: "skip", showlegend: false,
      line: { color: colour("line"), width: 1 }, text: ["", guide.name], textposition: "top left", cliponaxis: false, textfont: { size: 11, color: colour("muted") },
    }));
  }

  function drawPareto(box) {
    const data = embedded(box.dataset.pareto);
    const chosen = (name) => data.metrics.find((metric) => metric.key === document.getElementById(`pareto-${name}`).value);
    const [x, y] = [chosen("x"), chosen("y")];
    const points = data.points.filter((point) => point.values[x.key] && point.values[y.key]);
    const missing = data.points.filter((point) => !points.includes(point)).map((point) => point.plain);
    const line = (data.frontiers[`${x.key}|${y.key}`] || []).map((index) => data.points[index])
      .sort((a, b) => a.values[x.key][0] - b.values[x.key][0]);
    const lines = (data.guides || {})[`${x.key}|${y.key}`] || [];
    const places = points.length ? labelPlaces(points, line, lines, [x, y], box) : new Map();
    const frontier = {
      type: "scatter", mode: "lines", name: "frontier", hoverinfo: "skip", line: { color: colour("muted"), width: 1.5, dash: "dot", shape: x.direction === "lower" ? "hv" : "vh" },
      x: line.map((point) => point.values[x.key][0]), y: line.map((point) => point.values[y.key][0]),
    };
    const traces = ["sparse", "dense"].map((kind) => [kind, points.filter((point) => point.kind === kind)])
      .filter(([, some]) => some.length).map(([kind, some]) => paretoTrace(kind, some, x, y, places));
    const layout = { ...frame(), xaxis: paretoAxis(x, points), yaxis: paretoAxis(y, points) };
    const guides = guideTraces(lines);
    const guidesCaption = document.getElementById("pareto-guides");
    if (guidesCaption) guidesCaption.hidden = !guides.length;
    document.getElementById("pareto-missing").textContent = missing.length ? `Without a value here: ${missing.join(", ")}.` : "";
    const drawn = window.Plotly.react(box, [...guides, ...(line.length ? [frontier] : []), ...traces], layout, settings);
    if (!box.dataset.ready) {
      box.dataset.ready = "1";
      drawn.then(() => box.on("plotly_click", (event) => { const href = event.points[0].customdata; if (href) window.location.href = href; }));
      for (const name of ["x", "y"]) document.getElementById(`pareto-${name}`).addEventListener("change", () => drawPareto(box));
    }
    return drawn;
  }

  // Experts ---------------------------------------------------------------------------------------------------------
  // Typed arrays as Python packs them: little-endian, in base64.
  const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
  const unpacked = ({ dtype, bdata }) => new KINDS[dtype](Uint8Array.from(atob(bdata), (character) => character.charCodeAt(0)).buffer);

  // The loads of the layers that have tokens in a phase, or in both; a layer without any is null.
  function loadsOf(work, phase) {
    const found = work.layers.map(() => null);
    for (const name of phase === "both" ? Object.keys(work.phases) : [phase]) {
      const { rows, loads } = work.phases[name];
      rows.forEach((row, i) => {
        found[row] = found[row] || new Float64Array(work.layers[row][1]);
        unpacked(loads[i]).forEach((load, expert) => { found[row][expert] += load; });
      });
    }
    return found;
  }

  const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const three = (number) => (number >= 999.5 ? grouped(Math.round(number)) : String(Number(number.toPrecision(3))));

  // One row of the map: of every `step` experts in the chosen order the busiest, as a colour and in words.
  function expertRow([title, experts, topK], load, { byLoad, from, to, step, doublings }) {
    const total = load.reduce((sum, value) => sum + value, 0);
    const order = Array.from(load, (_, expert) => expert);
    if (byLoad) order.sort((a, b) => load[b] - load[a] || a - b);
    const row = { z: [], dead: [], text: [] };
    for (let start = from; start < to; start += step) {
      const some = order.slice(start, Math.min(start + step, to));
      if (!some.length) { for (const values of Object.values(row)) values.push(null); continue; }
      const expert = some.reduce((best, other) => (load[other] > load[best] ? other : best));
      const relative = load[expert] * experts / total;
      row.z.push(Math.max(-doublings, Math.min(doublings, Math.log2(relative))));
      row.dead.push(load[expert] === 0 ? 1 : null);
      row.text.push(`layer ${title}, expert ${expert}<br>${three(relative)} \u00d7 an even share<br>${three(100 * load[expert] * topK / total)} % of tokens (${grouped(load[expert])})`);
    }
    return row;
  }

  const EMPTY = { z: [], dead: [], text: [] };
  const steps = (count) => [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 256, 512].find((step) => count / step <= 16) || 1024;

  function expertTraces(rows, x) {
    const low = Number(-x.doublings);
    const shared = { type: "heatmap", y0: 0, dy: 1, x0: x.from + (x.step - 1) / 2, dx: x.step, showscale: false, ...(x.gap ? { xgap: 1, ygap: 1 } : {}) };
    const names = ["below-2", "below-1", "even", "above-1", "above-2"];
    const traces = [{
      ...shared, z: rows.map((row) => row.z), text: rows.map((row) => row.text), hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
      zmin: low, zmax: -low, colorscale: names.map((name, i) => [i / 4, colour(name)]),
    }];
    if (rows.some((row) => row.dead.some(Boolean))) {
      const ink = colour("ink");
      traces.push({ ...shared, z: rows.map((row) => row.dead), zmin: 0, zmax: 1, colorscale: [[0, ink], [1, ink]], hoverinfo: "skip" });
    }
    return traces;
  }

  function drawExperts(box) {
    const control = (name) => document.getElementById(`experts-${name}`);
    const work = embedded(control("work").value);
    const phases = control("phase");
    for (const option of phases.options) option.disabled = !(option.value in work.words);
    if (phases.selectedOptions[0].disabled) phases.value = [...phases.options].find((option) => !option.disabled).value;
    const most = Math.max(...work.layers.map(([, experts]) => experts));
    const width = box.clientWidth - 80;
    // where all would share columns of three and more, a narrow window begins with the first stretch
    if (!box.dataset.ready && control("range") && most / width > 2) control("range").selectedIndex = 1;
    const start = control("range")?.value;
    const from = start ? Number(start) : 0;
    const to = start ? Math.min(from + Number(box.dataset.span), most) : most;
    const x = { byLoad: control("order").value === "load", from, to, step: Math.max(1, Math.ceil((to - from) / width)), doublings: Number(box.dataset.doublings) };
    const rows = loadsOf(work, phases.value).map((load, i) => (load ? expertRow(work.layers[i], load, x) : EMPTY));
    const titles = work.layers.map(([title]) => title);
    const every = Math.max(1, Math.ceil(18 * titles.length / (box.clientHeight - 60)));
    const shown = titles.map((_, i) => i).filter((i) => i % every === 0);
    control("words").textContent = work.words[phases.value];
    control("bins").textContent = x.step > 1 ? `Each column shows the busiest of ${x.step} experts.` : "";
    const layout = {
      ...frame(), margin: { l: 56, r: 8, t: 8, b: 48 }, showlegend: false,
      xaxis: axis({ title: { text: x.byLoad ? "Place by load" : "Expert", font: { size: 13 }, standoff: 6 }, range: [from - 0.5, to - 0.5], tick0: 0, dtick: steps(Math.max(to - from, 1) * Math.max(1, 700 / width)), showgrid: false, fixedrange: true }),
      yaxis: axis({ title: { text: "Layer", font: { size: 13 } }, range: [titles.length - 0.5, -0.5], tickvals: shown, ticktext: shown.map((i) => titles[i]), showgrid: false, fixedrange: true }),
    };
    const drawn = window.Plotly.react(box, expertTraces(rows, { ...x, gap: width / (to - from) > 14 }), layout, settings);
    if (!box.dataset.ready) {
      box.dataset.ready = "1";
      for (const name of ["work", "phase", "order", "range"]) control(name)?.addEventListener("change", () => drawExperts(box));
    }
    return drawn;
  }

  function drawCharts() {
    if (!window.Plotly) return;
    for (const box of $$("[data-figure]")) drawFigure(box);
    for (const box of $$("[data-experts]")) drawExperts(box);
    for (const box of $$("[data-pareto]")) drawPareto(box);
  }

  // Start -----------------------------------------------------------------------------------------------------------
  document.addEventListener("DOMContentLoaded", () => {
    $(".theme")?.addEventListener("click", switchTheme);
    prefersDark.addEventListener("change", applyTheme);
    listenForTips();
    if (window.moebenchTables) for (const table of $$("table[data-table]")) prepareTable(table);
    applyTheme();
    root.dataset.ready = "1";
  });
})();
