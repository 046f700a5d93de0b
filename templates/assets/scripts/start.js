// What starts when the page is there.

function drawCharts() {
  if (!window.Plotly) return;
  for (const box of $$("[data-figure]")) drawFigure(box);
  for (const box of $$("[data-experts]")) drawExperts(box);
  for (const box of $$("[data-pareto]")) drawPareto(box);
}

document.addEventListener("DOMContentLoaded", () => {
  $(".theme")?.addEventListener("click", switchTheme);
  prefersDark.addEventListener("change", applyTheme);
  listenForTips();
  if (window.moebenchTables) for (const table of $$("table[data-table]")) prepareTable(table);
  applyTheme();
  root.dataset.ready = "1";
});
