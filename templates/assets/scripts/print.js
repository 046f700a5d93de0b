// On paper: details are open, charts have light colours and the paper's width, and no table is cut off.

const PAPER_PX = 680; // of A4 and of letter, upright, between the margins

const printing = { opened: [], fitted: [] };

function preparePaper() {
  printing.opened = $$("main details:not([open])");
  for (const details of printing.opened) details.open = true;
  root.classList.add("printing");
  root.classList.remove("dark");
  root.style.setProperty("--paper-width", `${PAPER_PX}px`);
  drawCharts({ late: true });
  for (const box of $$("main .js-plotly-plot")) window.Plotly.relayout(box, { width: box.clientWidth, height: box.clientHeight });
  for (const table of $$("main table")) fitToPaper(table);
}

// A table that is wider than its place is shrunk to it.
function fitToPaper(table) {
  const place = table.closest(".box") || table.parentElement;
  const scale = place.clientWidth / table.offsetWidth;
  if (!(scale < 0.999)) return;
  table.style.zoom = 0.99 * scale;
  printing.fitted.push(table);
}

function leavePaper() {
  for (const details of printing.opened) details.open = false;
  for (const table of printing.fitted) table.style.zoom = "";
  [printing.opened, printing.fitted] = [[], []];
  root.classList.remove("printing");
  for (const box of $$("main .js-plotly-plot")) window.Plotly.relayout(box, { autosize: true, width: null, height: null });
  applyTheme();
}

function listenForPrint() {
  window.addEventListener("beforeprint", preparePaper);
  window.addEventListener("afterprint", leavePaper);
}
