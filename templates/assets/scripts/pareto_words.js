// The chart of any two figures in words and as a table.

function namesOf(points, most = NAMED.others) {
  const names = points.slice(0, most).map((point) => point.name);
  const rest = points.length - names.length;
  if (rest) names.push(`${rest} more`);
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0] || "";
}

function paretoWords({ points, missing, line, beaten }) {
  const near = points.filter((point) => !line.includes(point) && !beaten.has(point));
  const sentences = [];
  if (line.length) sentences.push(`On the frontier: ${namesOf(line, NAMED.frontier)}.`);
  if (line.length && near.length) sentences.push(`Not on it, though their intervals leave that open: ${namesOf(near)}.`);
  if (beaten.size) sentences.push(`Certainly beaten on both axes, and drawn pale: ${namesOf([...beaten])}.`);
  const unlike = [...Map.groupBy(missing.filter((point) => point.out), (point) => point.out)];
  for (const [reason, some] of unlike) sentences.push(`Not drawn beside the others: ${namesOf(some)}. Reason: ${reason}.`);
  const without = missing.filter((point) => !point.out);
  if (without.length) sentences.push(`Without a value here: ${namesOf(without)}.`);
  return sentences.join(" ");
}

const axisHead = (metric) => [made("span", {}, titleOf(metric)), ...(metric.unit ? [made("span", { class: "unit" }, metric.unit)] : [])];
const evidenceAt = (point, metric) => (point.evidence && metric.evidence ? `${point.evidence}.${metric.evidence}` : "");

function paretoRows(points, { x, y, line, beaten }) {
  const [across, up] = [digitsOf(line, "x"), digitsOf(line, "y")];
  const cell = (point, metric, one, { places }) => {
    const [text, name] = [valueText(one, { unit: "" }, places.get(point)), evidenceAt(point, metric)];
    return made("td", {}, name ? evidenceButton(name, text) : text);
  };
  const alike = (point) => {
    const axes = [[up, y], [across, x]].filter(([found]) => found.alike.has(point)).map(([, metric]) => titleOf(metric));
    return axes.length ? `, to its digits the same as the one above in ${axes.join(" and ")}` : "";
  };
  const state_ = (point) => (line.includes(point) ? `on the frontier${alike(point)}` : beaten.has(point) ? "certainly beaten" : "left open by intervals");
  return points.map((point) => made("tr", {},
    made("th", { scope: "row", class: "text frozen" }, made("span", { class: `shape ${point.kind}`, "aria-hidden": "true" }), point.href ? made("a", { href: siteHref(point.href) }, point.name) : point.name),
    cell(point, y, point.y, up), cell(point, x, point.x, across), made("td", { class: "text" }, state_(point))));
}

function paretoTable(points, plot) {
  return made("div", { class: "box", tabindex: "0", role: "region", "aria-label": "Values on the two axes" }, made("table", { class: "data" },
    made("thead", {}, made("tr", {}, made("th", { scope: "col", class: "text frozen" }, "Model"), made("th", { scope: "col" }, axisHead(plot.y)),
      made("th", { scope: "col" }, axisHead(plot.x)), made("th", { scope: "col", class: "text" }, "Place"))),
    made("tbody", {}, paretoRows(points, plot))));
}

function tellPareto(plot) {
  const words = document.getElementById("pareto-missing");
  if (words) words.textContent = paretoWords(plot);
  const place = document.getElementById("pareto-values");
  if (!place) return;
  const others = plot.points.filter((point) => !plot.line.includes(point)).sort((a, b) => a.x.value - b.x.value);
  const more = made("details", { class: "more" }, made("summary", {}, `The other ${others.length === 1 ? "model" : `${others.length} models`}`));
  // built when it is asked for: there may be hundreds
  more.addEventListener("toggle", () => { if (more.open && !$("table", more)) more.append(paretoTable(others, plot)); });
  place.replaceChildren(plot.line.length ? paretoTable(plot.line, plot) : made("p", { class: "muted" }, "No model has a value on both axes."), others.length ? more : "");
}
