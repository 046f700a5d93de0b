// Tables of models: DataTables with search, filters and a choice of columns.

// Cells without a number stay at the end, whichever way a column is sorted.
const ordered = (sign) => (a, b) => {
  const [x, y] = [a, b].map((value) => (value === "" || value === null ? NaN : Number(value)));
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return sign * (x - y);
};

function prepareTable(table) {
  const DataTable = window.moebenchTables.jQuery.fn.dataTable;
  DataTable.type("measured", { className: "", order: { asc: ordered(1), desc: ordered(-1) } });
  const api = new DataTable(table, {
    paging: false, info: false, titleRow: 1, autoWidth: false, order: [],
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    language: { zeroRecords: "No model matches." },
    columnDefs: [
      { targets: ".numeric", type: "measured", searchable: false },
      { targets: ".higher", orderSequence: ["desc", "asc"] },
      { targets: ".text", type: "string" },
      { targets: ".later", visible: false },
    ],
  });
  const toolbar = document.getElementById(table.dataset.toolbar);
  if (toolbar) connectToolbar(toolbar, api, DataTable);
}

function connectToolbar(toolbar, api, DataTable) {
  const count = $(".count", toolbar);
  const total = api.rows().count();
  const report = () => {
    const shown = api.rows({ search: "applied" }).count();
    count.textContent = `${shown} of ${total} model${total === 1 ? "" : "s"}`;
  };
  api.on("draw", report);
  $("input[type=search]", toolbar).addEventListener("input", (event) => api.search(event.target.value).draw());
  const chips = $$("[data-filter]", toolbar);
  for (const chip of chips) chip.addEventListener("click", () => {
    for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
    const wanted = chip.dataset.filter;
    api.search.fixed("kind", (_text, _data, index) => !wanted || api.row(index).node().dataset.kind === wanted).draw();
  });
  const title = (table, index) => escaped(table.column(index).header().dataset.name || table.column(index).header().dataset.label); // DataTables takes it for HTML
  const buttons = new DataTable.Buttons(api, {
    buttons: [{ extend: "colvis", text: "Columns", fade: 0, columns: ":not(.frozen)", columnText: title }],
  });
  $(".slot", toolbar).append(buttons.container()[0]);
  report();
}
