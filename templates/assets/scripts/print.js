// On paper: details are open, charts have light colours and the paper's width, and no table is cut off.

const PAPER_PX = 680; // of A4 and of letter, upright, between the margins

const printing = { opened: [], fitted: [], parted: [] };

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

// A table that is wider than its place is shrunk a little, and where that would make it unreadable it is printed in
// parts, one under the other, each with the columns that name its rows.
const LEAST_ZOOM = 0.9; // of 7.5 pt, the size of print in tables: what is smaller is hard to read

function fitToPaper(table) {
  const place = (table.closest(".box") || table.parentElement).clientWidth;
  const scale = place / table.offsetWidth;
  if (!(scale < 0.999)) return;
  const parts = scale < 0.99 * LEAST_ZOOM ? inParts(table, place / LEAST_ZOOM) : [];
  if (parts.length > 1) {
    table.after(...parts);
    table.hidden = true;
    printing.parted.push({ table, parts });
    for (const part of parts) shrink(part, place);
  } else shrink(table, place);
}

function shrink(table, place) {
  const scale = place / table.offsetWidth;
  if (!(scale < 0.999)) return;
  table.style.zoom = 0.99 * scale;
  printing.fitted.push(table);
}

// Copies of a table with as many of its columns as have room in `width` px; none of one whose rows share cells. The
// title of a block of rows stands in all of them.
function inParts(table, width) {
  const heads = $$("thead tr:last-child > *", table);
  if ($("tbody [rowspan], tbody [colspan]:not([scope='rowgroup'])", table) || heads.length < 2) return [];
  const widths = heads.map((head) => head.offsetWidth);
  const fixed = heads.map((head, place) => place).filter((place) => place === 0 || heads[place].classList.contains("frozen"));
  const room = width - fixed.reduce((sum, place) => sum + widths[place], 0);
  const rest = heads.map((_head, place) => place).filter((place) => !fixed.includes(place));
  const fewest = dealt(rest, widths, room, room).length;
  // as even as they come, so that no column is left alone
  const even = rest.reduce((sum, place) => sum + widths[place], 0) / fewest;
  const tried = dealt(rest, widths, room, even);
  const taken = tried.length > fewest ? dealt(rest, widths, room, room) : tried;
  return fewest < 2 ? [] : taken.map((places) => withColumns(table, new Set([...fixed, ...places])));
}

// Columns in their order in groups that have `room`, each ended once it is `enough` wide.
function dealt(places, widths, room, enough) {
  const groups = [];
  let width = Infinity;
  for (const place of places) {
    if (width >= enough || width + widths[place] > room) { groups.push([]); width = 0; }
    groups.at(-1).push(place);
    width += widths[place];
  }
  return groups;
}

function withColumns(table, places) {
  const part = table.cloneNode(true);
  for (const one of [part, ...$$("[id]", part)]) one.removeAttribute("id");
  part.classList.add("part");
  $("colgroup", part)?.remove();
  part.style.width = "";
  for (const row of $$("tr", part)) {
    let place = 0;
    for (const cell of [...row.children]) {
      const span = cell.colSpan;
      const kept = Array.from({ length: span }, (_one, index) => place + index).filter((one) => places.has(one)).length;
      place += span;
      if (kept) cell.colSpan = kept; else cell.remove();
    }
  }
  return part;
}

function leavePaper() {
  for (const details of printing.opened) details.open = false;
  for (const table of printing.fitted) table.style.zoom = "";
  for (const { table, parts } of printing.parted) {
    table.hidden = false;
    for (const part of parts) part.remove();
  }
  Object.assign(printing, { opened: [], fitted: [], parted: [] });
  root.classList.remove("printing");
  for (const box of $$("main .js-plotly-plot")) window.Plotly.relayout(box, { autosize: true, width: null, height: null });
  applyTheme();
}

function listenForPrint() {
  window.addEventListener("beforeprint", preparePaper);
  window.addEventListener("afterprint", leavePaper);
}
