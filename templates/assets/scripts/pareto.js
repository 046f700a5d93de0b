// The scatter plot of any two metrics, with the frontier.

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
