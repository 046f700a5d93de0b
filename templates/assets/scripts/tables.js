// Tables of models: DataTables with search, filters and a choice of columns, all of which the address keeps.

// Cells without a number stay at the end, whichever way a column is sorted.
const ordered = (sign) => (a, b) => {
  const [x, y] = [a, b].map((value) => (value === "" || value === null ? NaN : Number(value)));
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return sign * (x - y);
};

// Columns in an address are named by their keys, lists of names have dots between.
const keyOf = (head) => head.dataset.key || (head.dataset.name || head.dataset.label).toLowerCase().replace(/[^a-z0-9]+/g, "-");
// What the rows of a table are, by the id of its toolbar.
const nounOf = (id) => document.getElementById(id)?.dataset.noun || "model";
const listIn = (name) => (state.get(name) || "").split(".").filter(Boolean);
const isFixed = (head) => head.classList.contains("frozen");
// Some columns wait on a narrow screen, where a table is seen a few columns at a time.
const narrow = window.matchMedia("(max-width: 40rem)");
const isLater = (head) => head.classList.contains("later") || (narrow.matches && head.classList.contains("roomy"));

// What the address says of the columns, by their places; a name that the table lacks is passed over.
function columnsAsked(heads) {
  const places = new Map(heads.map((head, place) => [keyOf(head), place]));
  const named = listIn("cols").filter((name) => places.has(name) || name === "none");
  return {
    visible: heads.map((head) => isFixed(head) || (named.length ? named.includes(keyOf(head)) : !isLater(head))),
    order: listIn("sort").map((name) => [places.get(name.replace(/^-/, "")), name.startsWith("-") ? "desc" : "asc"])
      .filter(([place]) => place !== undefined),
  };
}

// What brings a table to what the address says, and what is left of what that says; a page has one table with controls,
// or none.
let restoreTable = () => {};
let tableReads = {};

function prepareTable(table) {
  const DataTable = window.moebenchTables.jQuery.fn.dataTable;
  DataTable.type("measured", { className: "", order: { asc: ordered(1), desc: ordered(-1) } });
  const heads = $$("thead tr:last-child th", table);
  const { visible, order } = columnsAsked(heads);
  const more = moreOf(table, heads);
  const api = new DataTable(table, {
    paging: false, info: false, titleRow: $$("thead tr", table).length - 1, autoWidth: false, order,
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    language: { zeroRecords: `No ${nounOf(table.dataset.toolbar)} matches.` },
    columns: heads.map((head, place) => ({ visible: visible[place], ...more.column(head, place) })),
    columnDefs: [
      { targets: ".numeric", type: "measured", searchable: false },
      { targets: ".higher", orderSequence: ["desc", "asc"] },
      { targets: ".text", type: "string" },
    ],
  });
  more.fill(api);
  const toolbar = document.getElementById(table.dataset.toolbar);
  if (toolbar) connectToolbar(toolbar, api, heads, connectColumns(toolbar, api, heads, DataTable));
  // what a reader cannot have reached for yet waits until the table is there
  const later = (work) => whenIdle(() => { if (table.isConnected) work(); });
  if (toolbar) later(() => $(".slot", toolbar).append(pickerOf(api, heads, DataTable).container()[0]));
  if ($("tbody tr[data-evidence]", table)) later(() => walkCells(api, DataTable));
}

// Columns that are hidden at first have no cells in the page: their content is a list, written into cells when first
// seen, so that a table of many metrics is there as fast as one of few.
function moreOf(table, heads) {
  if (!table.dataset.more) return { column: () => ({}), fill: () => {} };
  const content = embedded(table.dataset.more);
  const first = heads.length - content.length;
  const written = new Set();
  const write = (api, place) => {
    if (place < first || written.has(place)) return;
    written.add(place);
    api.column(place, { order: "index" }).nodes().each((cell, index) => {
      const given = content[place - first][index];
      cell.dataset.order = given[0] ?? "";
      cell.innerHTML = cellHtml(given);
    });
  };
  return {
    column: (head, place) => (place < first ? {} : {
      className: ["text", "first-of-group"].filter((name) => head.classList.contains(name)).join(" "),
      data: (_row, type, _set, meta) => (type === "display" ? "" : content[place - first][meta.row][0] ?? ""),
    }),
    fill(api) {
      api.on("column-visibility", (_event, _settings, place, shown) => { if (shown) write(api, place); });
      heads.forEach((_head, place) => { if (api.column(place).visible()) write(api, place); });
    },
  };
}

// Rows -------------------------------------------------------------------------------------------------------------

// What rows are chosen by. Of a facet and of the kinds any value will do, presets have to hold all at once.
function choicesOf(toolbar) {
  const chips = (name, attribute, title, several) => {
    const all = $$(`[data-${attribute}]`, toolbar);
    return {
      name, title, several, every: several, values: [], boxes: all, known: all.map((chip) => chip.dataset[attribute]).filter(Boolean),
      show() {
        for (const chip of all) {
          const value = chip.dataset[attribute];
          chip.setAttribute("aria-pressed", String(value ? this.values.includes(value) : !this.values.length));
        }
      },
      taken(chip) {
        const value = chip.dataset[attribute];
        if (!several) return value ? [value] : [];
        return this.values.includes(value) ? this.values.filter((one) => one !== value) : [...this.values, value];
      },
    };
  };
  const facet = (box) => {
    const inputs = $$("input", box);
    return {
      name: box.dataset.facet, title: box.dataset.title, values: [], boxes: inputs, known: inputs.map((input) => input.value),
      show() {
        for (const input of inputs) input.checked = this.values.includes(input.value);
        $(".chosen", box).textContent = this.values.length ? ` (${this.values.length})` : "";
        box.classList.toggle("on", this.values.length > 0);
      },
      taken: () => inputs.filter((input) => input.checked).map((input) => input.value),
    };
  };
  const found = [chips("kind", "filter", "Kind", false), chips("preset", "preset", "Presets", true)];
  return [...found, ...$$("[data-facet]", toolbar).map(facet)];
}

function connectToolbar(toolbar, api, heads, columns) {
  const search = $("input[type=search]", toolbar);
  const choices = choicesOf(toolbar);
  const rows = api.rows({ order: "index" }).nodes().toArray()
    .map((row) => new Set([...(row.dataset.has || "").split(" "), `kind:${row.dataset.kind}`]));
  let skipped = null;
  const holds = (choice, row) => {
    const held = (value) => row.has(`${choice.name}:${value}`);
    return choice === skipped || !choice.values.length || (choice.every ? choice.values.every(held) : choice.values.some(held));
  };
  api.search.fixed("choices", (_text, _data, index) => choices.every((choice) => holds(choice, rows[index])));
  const drawn = (text) => { api.search(text).draw(); return api.rows({ search: "applied" }).count(); };
  // Each choice that is set, and how many models there are without it.
  const loosened = () => [
    ...(search.value ? [{ title: "the search", count: drawn(""), drop: () => { search.value = ""; } }] : []),
    ...choices.filter((choice) => choice.values.length).map((choice) => {
      skipped = choice;
      const count = drawn(search.value);
      skipped = null;
      return { title: choice.title, count, drop: () => { choice.values = []; } };
    }),
  ];
  const tellCount = (count) => {
    $(".count", toolbar).textContent = `${count} of ${rows.length} ${nounOf(toolbar.id)}${rows.length === 1 ? "" : "s"}`;
  };
  const show = () => {
    const count = drawn(search.value);
    const told = count ? [] : loosened();
    if (told.length) drawn(search.value);
    for (const choice of choices) choice.show();
    tellCount(count);
    tellLoosened(toolbar, told, commit);
  };
  const loads = connectLoads(toolbar, api, heads, rows);
  // What is typed without a pause for something else is one step of the history.
  let typing = false;
  const commit = ({ typed = false } = {}) => {
    const values = Object.fromEntries(choices.map((choice) => [choice.name, choice.values.join(".")]));
    state.change({ q: search.value, ...values, ...(loads ? { load: loads.shown } : {}) }, { step: !(typed && typing) });
    typing = typed;
    show();
    offerReset();
  };
  const among = (known) => (text) => text.split(".").filter((one) => known(one)).join(".");
  tableReads = {
    q: (text) => text, ...columns.reads(among), ...(loads ? { load: loads.known } : {}),
    ...Object.fromEntries(choices.map((choice) => [choice.name, among((one) => choice.known.includes(one))])),
  };
  const names = ["q", "cols", "sort", "load", ...choices.map((choice) => choice.name)];
  const reset = $("[data-reset]", toolbar);
  const offerReset = () => {
    const set = names.filter((name) => state.get(name));
    if (reset) reset.disabled = !set.length;
    const more = $("[data-tools]", toolbar);
    if (more) $(".n", more).textContent = set.filter((name) => name !== "q" && name !== "sort").length || "";
  };
  let restoring = false;
  restoreTable = () => {
    [typing, restoring] = [false, true];
    if (search.value !== (state.get("q") || "")) search.value = state.get("q") || "";
    for (const choice of choices) choice.values = listIn(choice.name).filter((value) => choice.known.includes(value));
    loads?.choose(loads.known(state.get("load")));
    columns.restore();
    show();
    offerReset();
    queueMicrotask(() => { restoring = false; });
  };
  search.addEventListener("input", () => commit({ typed: true }));
  search.addEventListener("blur", () => { typing = false; });
  for (const choice of choices) for (const box of choice.boxes) {
    box.addEventListener("click", () => { choice.values = choice.taken(box); commit(); });
  }
  loads?.select.addEventListener("change", () => { loads.choose(loads.select.value); commit(); });
  let pending = false;
  let added = [];
  const remember = (step) => {
    pending = false;
    if (toolbar.isConnected) { columns.remember({ step }); offerReset(); bringInSight(api, added); }
    added = [];
  };
  api.on("order column-visibility", (event, _settings, place, shown) => {
    if (event.type === "column-visibility" && shown && !restoring) added.push(place);
    if (pending) return;
    pending = true;
    const step = !restoring;
    queueMicrotask(() => remember(step));
  });
  api.on("destroy", () => { pending = true; });
  reset?.addEventListener("click", () => {
    state.change(Object.fromEntries(names.map((name) => [name, ""])), { step: true });
    restoreTable();
    search.focus();
  });
  connectCopy(toolbar);
  connectFold($("[data-tools]", toolbar), toolbar);
  connectFold($("[data-unfold]"), $(".conditions"));
  // a table of hundreds of rows is drawn twice only where that changes it
  if (names.some((name) => state.get(name))) restoreTable(); else tellCount(rows.length);
}

// An empty table says what to loosen, with a button for each.
function tellLoosened(toolbar, told, commit) {
  const place = $(".loosen", toolbar);
  if (!place) return;
  place.hidden = !told.length;
  const buttons = told.map(({ title, count, drop }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Without ${title}: ${count}`;
    button.addEventListener("click", () => { drop(); commit(); $("input[type=search]", toolbar).focus(); });
    return button;
  });
  const noun = nounOf(toolbar.id);
  const words = told.length > 1 ? `No ${noun} has all of this. Loosen one: ` : `No ${noun} has this. `;
  place.replaceChildren(...(told.length ? [words, ...buttons] : []));
}

// On a narrow screen the controls but for the search, and most of what was measured how, are behind a button each.
function connectFold(button, folded) {
  button?.addEventListener("click", () => button.setAttribute("aria-expanded", String(folded.classList.toggle("open"))));
}

function connectCopy(toolbar) {
  const button = $("[data-copy]", toolbar);
  if (!button) return;
  const label = button.textContent;
  const written = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { return false; }
  };
  button.addEventListener("click", async () => {
    button.textContent = (await written(location.href)) ? "Copied" : "Copy it from the address bar";
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// Columns ----------------------------------------------------------------------------------------------------------

// The headings over the columns, one a column.
const headingsOf = (api) => $$("thead .groups th", api.table().node()).length
  ? api.columns().header().toArray().map((_head, place) => api.column(place).header(0))
    .map((head) => head.dataset.name || head.textContent.trim()) : [];

// The picker: every column under its heading, which shows or hides all of them.
function pickerOf(api, heads, DataTable) {
  const headings = headingsOf(api);
  const name = (place) => escaped(heads[place].dataset.name || heads[place].dataset.label); // DataTables takes it for HTML
  const places = heads.map((_head, place) => place).filter((place) => !isFixed(heads[place]));
  const groups = new Map();
  for (const place of places) groups.set(headings[place] || "", [...(groups.get(headings[place] || "") || []), place]);
  const toggle = (some) => { const all = api.columns(some); all.visible(!all.visible().toArray().every(Boolean)); };
  const buttons = [...groups].flatMap(([title, some]) => [
    ...(title ? [{ text: escaped(title), className: "heading", attr: { title: "Show or hide all of these" }, action: () => toggle(some) }] : []),
    ...some.map((place) => ({ extend: "columnToggle", columns: place, columnText: () => name(place) })),
  ]);
  return new DataTable.Buttons(api, {
    buttons: [{ extend: "collection", text: "Columns", className: "buttons-colvis", fade: 0, buttons }],
  });
}

// What DataTables leaves unsaid of its menu: its name, and which columns are shown.
function sayMenu() {
  for (const menu of $$(".dt-button-collection")) {
    menu.setAttribute("aria-label", "Columns to show");
    $("[role=menu]", menu)?.setAttribute("role", "group");
    for (const button of $$(".buttons-columnVisibility", menu)) button.setAttribute("aria-pressed", String(button.classList.contains("dt-button-active")));
  }
}

// A menu that closes takes the focus within it away: it goes back to the button of the menu.
function leaveMenu() {
  if (document.activeElement === document.body) $(".toolbar .buttons-colvis")?.focus();
}

function connectColumns(toolbar, api, heads, DataTable) {
  api.on("buttons-action", sayMenu);
  // DataTables triggers it on the body, with its own namespace
  window.moebenchTables.jQuery(document.body).off("buttons-popover-hide.moebench").on("buttons-popover-hide.dt.moebench", leaveMenu);
  const places = new Map(heads.map((head, place) => [keyOf(head), place]));
  const sets = $$("[data-toggle]", toolbar).map((button) => [button, button.dataset.toggle.split(".").map((key) => places.get(key))]);
  const seen = (some) => some.every((place) => api.column(place).visible());
  const show = () => { for (const [button, some] of sets) button.setAttribute("aria-pressed", String(seen(some))); };
  for (const [button, some] of sets) button.addEventListener("click", () => api.columns(some).visible(!seen(some)));
  return {
    remember(how) {
      const visible = heads.map((_head, place) => api.column(place).visible());
      const usual = heads.every((head, place) => visible[place] === !isLater(head));
      const named = heads.filter((head, place) => visible[place] && !isFixed(head)).map(keyOf);
      const order = api.order().map(([place, direction]) => `${direction === "desc" ? "-" : ""}${keyOf(heads[place])}`);
      state.change({ cols: usual ? "" : named.join(".") || "none", sort: order.join(".") }, how);
      show();
    },
    reads: (among) => ({
      cols: among((name) => places.has(name) || name === "none"), sort: among((name) => places.has(name.replace(/^-/, ""))),
    }),
    restore() {
      const { visible, order } = columnsAsked(heads);
      visible.forEach((wanted, place) => { if (api.column(place).visible() !== wanted) api.column(place).visible(wanted, false); });
      api.columns.adjust().order(order);
      show();
    },
  };
}

// Cells ------------------------------------------------------------------------------------------------------------

// One place in the order of the keyboard for a table of thousands of cells: arrows go from cell to cell, Enter opens.
function walkCells(api, DataTable) {
  const body = api.table().body();
  new DataTable.KeyTable(api, { tabIndex: -1, clipboard: false, keys: [35, 36, 37, 38, 39, 40] });
  for (const link of $$("a", body)) link.tabIndex = -1;
  const cellOf = (event) => event.target instanceof Element && event.target.closest("td, th");
  const stop = (cell) => {
    for (const other of $$("[tabindex='0']", body)) if (other !== cell) other.removeAttribute("tabindex");
    if (cell) cell.tabIndex = 0;
  };
  api.on("key-focus", (_event, _api, cell) => {
    const node = cell.node();
    stop(node);
    if ($("[data-why]", node)) node.setAttribute("aria-describedby", "tip");
    if (document.activeElement !== node && !node.contains(document.activeElement)) node.focus();
  });
  api.on("draw", () => { if (!$("[tabindex='0']", body)) stop($("tr > *", body)); });
  body.addEventListener("focusin", (event) => {
    if (cellOf(event) === event.target && api.cell({ focused: true }).node() !== event.target) api.cell(event.target).focus();
  });
  body.addEventListener("focusout", (event) => { if (!body.contains(event.relatedTarget)) api.cell.blur(); });
  body.addEventListener("keydown", (event) => {
    const link = event.key === "Enter" && cellOf(event) === event.target && $("a", event.target);
    if (link) { event.preventDefault(); link.click(); }
  });
  stop($("tr > *", body));
}
