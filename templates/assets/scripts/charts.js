// Charts: plotly figures whose colours are looked up in the style sheet.

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
// A label that would reach beyond the chart is shown, and the margin grows by it; plotly's own choice is to hide it.
const axis = (given) => ({
  gridcolor: colour("line"), linecolor: colour("muted"), zeroline: false, ticks: "outside", tickcolor: colour("muted"),
  automargin: true, ticklabeloverflow: "allow", exponentformat: "none", separatethousands: true, ...coloured(given),
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
