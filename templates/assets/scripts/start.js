// What starts when the page is there.

const drawChart = (box) => {
  if (box.dataset.figure) return drawFigure(box);
  if (box.dataset.history) return drawHistory(box);
  return box.dataset.pareto ? drawPareto(box) : drawExperts(box);
};

function drawCharts() {
  if (window.Plotly) for (const box of $$("[data-figure], [data-experts], [data-pareto], [data-history]")) drawChart(box);
}

// Charts wait until the tables can be used, and each lets a reader in between; `data-drawn` says that all are there.
const whenIdle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work, 20));

// The library of charts is large and is read only when the page can be used already.
function loadAfter() {
  const wanted = $("script[data-after]");
  if (!wanted || window[wanted.dataset.after]) { drawLater(); return; }
  const script = document.createElement("script");
  for (const type of ["load", "error"]) script.addEventListener(type, drawLater);
  script.src = wanted.src;
  document.head.append(script);
}

function drawLater() {
  const boxes = window.Plotly ? $$("[data-figure], [data-experts], [data-pareto], [data-history]") : [];
  const next = () => {
    const box = boxes.shift();
    if (!box) { root.dataset.drawn = "1"; return; }
    if (box.isConnected) drawChart(box);
    whenIdle(next);
  };
  if (boxes.length) whenIdle(next); else next();
}

// All that a page's content needs; what listens to the whole document is connected once, below.
function preparePage() {
  delete root.dataset.drawn;
  if (window.moebenchTables) for (const table of $$("table[data-table]")) prepareTable(table);
  if (window.moebenchTables) for (const list of $$("[data-cards]")) followTable(list);
  applyTheme();
  root.dataset.ready = "1";
  openNamedEvidence();
  whenIdle(loadAfter);
}

// A menu of choices closes when a reader turns to something else.
function closeMenus(event) {
  for (const menu of $$("details.facet[open]")) {
    if (event.type === "keydown" ? event.key !== "Escape" : menu.contains(event.target)) continue;
    menu.open = false;
    if (event.type === "keydown") $("summary", menu).focus();
  }
}

// Listeners on the document and the window belong here and find their elements when they are called: in a file with
// all pages (standalone.js) the elements of a page come and go, and `preparePage` is called for each.
document.addEventListener("DOMContentLoaded", () => {
  listenForTheme();
  listenForTips();
  listenForEvidence();
  for (const type of ["click", "focusin", "keydown"]) document.addEventListener(type, closeMenus);
  listenForPrint();
  if (root.dataset.first) startStandalone(); else window.addEventListener("hashchange", (event) => { keepState(event); restoreTable(); restoreAxes(); });
  openAddress();
});
