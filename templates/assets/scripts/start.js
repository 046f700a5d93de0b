// What starts when the page is there.

function drawCharts() {
  if (!window.Plotly) return;
  for (const box of $$("[data-figure]")) drawFigure(box);
  for (const box of $$("[data-experts]")) drawExperts(box);
  for (const box of $$("[data-pareto]")) drawPareto(box);
}

// All that a page's content needs; what listens to the whole document is connected once, below.
function preparePage() {
  if (window.moebenchTables) for (const table of $$("table[data-table]")) prepareTable(table);
  applyTheme();
  root.dataset.ready = "1";
}

document.addEventListener("DOMContentLoaded", () => {
  $(".theme")?.addEventListener("click", switchTheme);
  prefersDark.addEventListener("change", applyTheme);
  listenForTips();
  preparePage();
});
