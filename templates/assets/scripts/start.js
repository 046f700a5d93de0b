// What starts when the page is there.

const drawChart = (box) => {
  if (box.dataset.figure) return drawFigure(box);
  if (box.dataset.history) return drawHistory(box);
  return box.dataset.pareto ? drawPareto(box) : drawExperts(box);
};

// A chart with `data-late` waits until a reader comes near it, and with it the library, which is large.
const CHARTS = "[data-figure], [data-experts], [data-pareto], [data-history]";
const isLate = (box) => "late" in box.dataset && !box.classList.contains("js-plotly-plot");

function drawCharts({ late = false } = {}) {
  if (window.Plotly) for (const box of $$(CHARTS)) if (late || !isLate(box)) drawChart(box);
}

// Charts wait until the tables can be used, and each lets a reader in between; `data-drawn` says that all are there.
const whenIdle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work, 20));

let near = null; // what watches for charts that a reader comes near
function startCharts() {
  near?.disconnect();
  const late = $$(CHARTS).filter(isLate);
  near = new IntersectionObserver((entries) => {
    const boxes = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    for (const box of boxes) near.unobserve(box);
    if (boxes.length) loadCharts(() => drawLater(boxes));
  }, { rootMargin: "25%" });
  for (const box of late) { tellFirst(box); near.observe(box); }
  const boxes = $$(CHARTS).filter((box) => !isLate(box));
  if (boxes.length) loadCharts(() => drawLater(boxes)); else root.dataset.drawn = "1";
}

function loadCharts(then) {
  const wanted = $("script[data-after]");
  if (!wanted || window[wanted.dataset.after]) { then(); return; }
  let script = $("script[data-loading]");
  if (!script) {
    script = document.createElement("script");
    script.dataset.loading = "1";
    script.src = wanted.src;
    document.head.append(script);
  }
  for (const type of ["load", "error"]) script.addEventListener(type, then);
}

let lists = { open: 0 }; // how many lists of charts of the page in sight are not drawn yet
function drawLater(boxes) {
  const mine = lists;
  mine.open += 1;
  const next = () => {
    const box = window.Plotly && boxes.shift();
    if (box?.isConnected) drawChart(box);
    if (box) { whenIdle(next); return; }
    mine.open -= 1;
    if (!mine.open && mine === lists) root.dataset.drawn = "1";
  };
  whenIdle(next);
}

// All that a page's content needs; what listens to the whole document is connected once, below.
function preparePage() {
  delete root.dataset.drawn;
  lists = { open: 0 };
  if (window.moebenchTables) for (const table of $$("table[data-table]")) prepareTable(table);
  if (window.moebenchTables) for (const list of $$("[data-cards]")) followTable(list);
  applyTheme();
  watchBoxes();
  const unknown = tidyAddress();
  if (unknown.length) { restoreTable(); tellUnknown(unknown); }
  root.dataset.ready = "1";
  openNamedEvidence();
  whenIdle(startCharts);
}

// Brings a page that is in sight to what its address says, where that can be done without making the page again.
const canRestore = () => Boolean($("[data-toolbar], [data-pareto], [data-history], [data-experts]"));
function restorePage() {
  const unknown = tidyAddress();
  restoreTable();
  restoreAxes();
  restoreHistory();
  restoreExperts();
  tellUnknown(unknown);
}

// Takes from the address what this page does not know, so that it claims no view but the one in sight; returns it.
function tidyAddress() {
  if ($("[data-toolbar]") && !window.moebenchTables) return [];
  return state.tidy({ n: (names) => (evidenceNames(names).length ? names : ""), ...axesReads(), ...historyReads(), ...expertsReads(), ...tableReads });
}

// Said where the page says what to loosen, until the next choice.
function tellUnknown(unknown) {
  if (unknown.length && !$(".loosen")) $(".toolbar")?.append(made("p", { class: "loosen", role: "status" }));
  forgetUnknown();
  const place = $(".loosen");
  if (!place) return;
  if (unknown.length) place.prepend(made("span", { class: "unknown" }, `Left out of the address, as this page does not know it: ${unknown.map(shortened).join(", ")}.`));
  place.hidden = !place.hasChildNodes();
}

function forgetUnknown() {
  for (const said of $$(".loosen .unknown")) {
    const place = said.parentElement;
    said.remove();
    place.hidden = !place.hasChildNodes();
  }
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
  if (root.dataset.first) startStandalone(); else window.addEventListener("hashchange", (event) => { keepState(event); if (!onlyNumber(event)) restorePage(); });
  markStep();
  openAddress();
});
