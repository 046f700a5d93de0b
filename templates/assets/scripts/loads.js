// The load at which the columns of speed are read: another load's numbers take the places of the first one's.

// Cells as lists: what sorts them, text, margin, whether it is the best, marks; empty ends are left out.
const cellHtml = ([, text = "", margin = "", best = 0, marks = []]) => [
  best ? `<b>${escaped(text)}</b>` : escaped(text), ...(margin ? [`<i>${escaped(margin)}</i>`] : []),
  ...marks.map(([kind, label, why]) => `<span class="mark ${kind}" data-why="${why}">${escaped(label)}</span>`),
].join(" ").trim();

// The columns of speed as they are, so that the first load can be put back.
function speedsNow(api, heads, places, rows) {
  return {
    heading: titleOfGroup(api, places[0]).textContent,
    evidence: places.map((place) => heads[place].dataset.evidence),
    html: places.map((place) => cellsOf(api, place).map((cell) => [cell.dataset.order, cell.innerHTML])),
    fits: rows.map((row) => Number(row.has("preset:fits-80gb"))).join(""),
  };
}

const cellsOf = (api, place) => api.column(place, { order: "index" }).nodes().toArray();
function titleOfGroup(api, place) {
  const head = api.column(place).header(0);
  return $(".dt-column-title", head) || head;
}

// Puts a load in place with `choose`; `rows` are what each model can be chosen by, and the preset follows.
function connectLoads(toolbar, api, heads, rows) {
  const select = $("[data-loads]", toolbar);
  if (!select) return null;
  const { columns, preset, loads } = embedded(select.dataset.loads);
  const places = columns.map((key) => heads.findIndex((head) => keyOf(head) === key));
  const chip = $(`[data-preset="${preset}"]`, toolbar);
  const first = { ...speedsNow(api, heads, places, rows), help: chip.title };
  let shown = "";
  const write = (load) => places.forEach((place, column) => {
    const cells = cellsOf(api, place);
    cells.forEach((cell, row) => {
      [cell.dataset.order, cell.innerHTML] = load.html ? load.html[column][row] : [load.cells[column][row][0] ?? "", cellHtml(load.cells[column][row])];
    });
    heads[place].dataset.evidence = load.evidence[column];
    api.cells(null, place).invalidate("dom");
  });
  const fit = (load) => {
    rows.forEach((row, index) => row[load.fits[index] === "1" ? "add" : "delete"](`preset:${preset}`));
    $(".n", chip).textContent = load.fits.replaceAll("0", "").length;
    chip.title = load.help;
  };
  return {
    select, get shown() { return shown; },
    known: (name) => (Object.hasOwn(loads, name || "") ? name : ""),
    choose(name) {
      select.value = name;
      if (name === shown) return;
      const load = name ? loads[name] : first;
      shown = name;
      write(load);
      fit(load);
      titleOfGroup(api, places[0]).textContent = load.heading;
    },
  };
}
