// The drawer: what stands behind a number, for every element that names its evidence.
//
// Evidence is named `<suite>.<model>.<metric>`, then task or point; two names with a blank between are two sides. A
// number has its name in data-evidence; in a table of models the row has the first two parts and the column's head the
// rest; of a pair the row or card has those parts of both in data-sides and the number the rest; a row of
// a table of counts has all but the column, which the number has in data-cell. A model's evidence comes from evidence/<suite>/<model>.js, or from an element of the page where that is inside.

const EVIDENCE_NAME = /^_?[a-z0-9-]+\._?[a-z0-9-]+\.[a-z0-9_]+(\.[a-z0-9-]+)?(@\d+)?$/;
const ownScript = document.currentScript?.getAttribute("src") || "";
const drawer = { dialog: null, names: "", opener: null, leaving: null, kept: new Map(), waiting: new Map() };

// The way to a place in the site: relative to this page, or within the file that has all pages.
const siteHref = (path) => (standalone.shown ? `#/${path}` : ownScript.replace(/assets\/[^/]*$/, "") + path);

// An element with attributes and children; text is never read as HTML.
function made(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// Which evidence an element stands for: its own, or that of its place in a table of models; empty where there is none.
function evidenceOf(element) {
  const inRow = element.closest("[data-cell]")?.dataset.cell;
  if (inRow) return `${element.closest("[data-of]").dataset.of}-${inRow}`;
  const shared = element.closest("[data-rest]")?.dataset.rest;
  if (shared) return element.closest("[data-sides]").dataset.sides.split(" ").map((side) => `${side}.${shared}`).join(" ");
  const named = element.closest("[data-evidence]");
  if (named && !named.matches("tr, th")) return named.dataset.evidence;
  const cell = element.closest("td");
  const row = cell?.closest("tr[data-evidence]");
  if (!row || !cell.dataset.order) return "";
  const heads = [...row.closest("table").tHead.rows].pop().cells;
  const rest = heads[cell.cellIndex]?.dataset.evidence;
  return rest && row.dataset.evidence ? `${row.dataset.evidence}.${rest}` : "";
}

// Loading ---------------------------------------------------------------------------------------------------------

function loadEvidence(model) {
  if (!drawer.kept.has(model)) drawer.kept.set(model, findEvidence(model).catch((error) => { drawer.kept.delete(model); throw error; }));
  return drawer.kept.get(model);
}

function findEvidence(model) {
  const inside = document.getElementById(`evidence-${model}`);
  if (inside) return Promise.resolve(JSON.parse(inside.textContent));
  const path = `evidence/${model.replaceAll(".", "/")}.js`;
  const missing = new Error(`The file ${path} of this report is missing.`);
  if (standalone.shown) return Promise.reject(new Error("What stands behind the numbers is not in this file: a report that is a folder has it."));
  return new Promise((resolve, reject) => {
    const script = made("script", { src: siteHref(path) });
    drawer.waiting.set(model, resolve);
    script.addEventListener("error", () => reject(missing));
    script.addEventListener("load", () => { script.remove(); reject(missing); });
    document.head.append(script);
  });
}

window.moebenchEvidence = (model, content) => drawer.waiting.get(model)?.(content);

// Words -----------------------------------------------------------------------------------------------------------

// Six significant digits, or so many, with thin spaces between thousands and a true minus.
function digits(number, places = 6) {
  const size = Math.abs(number);
  if (!Number.isFinite(number)) return String(number);
  if (size && (size < 1e-4 || size >= 1e15)) return number.toExponential(3).replace("-", "\u2212");
  const [whole, rest] = String(size >= 10 ** places ? Math.round(size) : Number(size.toPrecision(places))).split(".");
  return `${number < 0 ? "\u2212" : ""}${grouped(whole)}${rest ? `.${rest}` : ""}`;
}

// Three significant digits, as the tables have them, or so many.
function significant(number, places = 3) {
  const size = Math.abs(number);
  if (!Number.isFinite(number) || (size && size < 1e-4)) return digits(number);
  const rounded = Number(size.toPrecision(places));
  const [whole, rest] = rounded.toFixed(Math.max(0, places - 1 - (rounded ? Math.floor(Math.log10(rounded)) : places - 1))).split(".");
  return `${number < 0 ? "\u2212" : ""}${grouped(whole)}${rest ? `.${rest}` : ""}`;
}

function withUnit(value, metric, places) {
  return `${digits(value / metric.divisor, places)}${metric.unit ? `\u00a0${metric.unit}` : ""}`;
}

// "<metric>.<point>" in parts; a task's score is one metric.
function partsOfName(name, content) {
  const key = name.split(".").slice(2).join(".");
  if (key.startsWith("routing.")) return partsOfCount(key, content);
  const [metric, point] = key in content.metrics ? [key, ""] : key.split(".");
  return { key, metric: content.metrics[metric], point: content.points[point], estimate: content.estimates[key] };
}

// A number of a table of what was counted from recorded routing: "routing.<table>-<row>-<column>".
function partsOfCount(key, content) {
  const [, id, row, column] = key.match(/^routing\.(.+)-(\d+)-(\d+)$/) || [];
  const table = content.tables?.[id];
  const [title, values] = table?.rows[row] || [];
  if (!values || typeof values[column] !== "number") return { key };
  const [name, unit, formula, better] = table.columns[column];
  const others = Object.entries(table.rows).filter(([other]) => other !== row && table.each && row === "0").map(([other, [what, found]]) => [other, what, found[column]]);
  return {
    key, metric: { title: `${name}, ${title}: ${table.title}`, unit, divisor: 1, base: "", formula: formula || name, better },
    estimate: { value: values[column], n: 1, basis: "Counted from the recorded expert ids", terms: table.terms, sources: table.sources, layers: others.map(([other, what, value]) => [what, `routing.${id}-${other}-${column}`, value]) },
  };
}

// Pieces ----------------------------------------------------------------------------------------------------------

const termList = (terms) => made("dl", { class: "rows" }, terms.map(([term, text]) => [made("dt", {}, term), made("dd", {}, text)]).flat());
const part = (title, ...children) => (children.flat().some(Boolean) ? made("section", {}, made("h4", {}, title), ...children) : "");

// Whether a place of the site can be opened from here: a file with all pages lacks the records.
function isHere(href) {
  const path = decodeURIComponent(href.split("#")[0]);
  return !standalone.shown || standalone.pages.has(path) || standalone.files.has(path);
}

function placeLink(href, text) {
  if (isHere(href)) return made("a", { href: siteHref(href) }, text);
  return made("span", {}, decodeURIComponent(href).replace(/^records\//, "results/"));
}

function commandBox(command) {
  const button = made("button", { type: "button", class: "button" }, "Copy");
  // a browser may break a line behind any hyphen: short words are kept whole
  const words = command.split(/( )/).map((word) => (word.trim() && word.length < 32 ? made("span", { class: "word" }, word) : word));
  const box = made("pre", { class: "wrapped", tabindex: "0" }, words);
  button.addEventListener("click", async () => {
    const copied = await copyText(command, box);
    button.textContent = copied ? "Copied" : "Selected";
    $(".drawer-status").textContent = copied ? "The command is copied." : "The command is selected.";
  });
  return made("div", { class: "command" }, box, button);
}

// Copies `text`; where a browser does not allow that, selects it in `box`.
async function copyText(text, box) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(box);
    return false;
  }
}

function plainTable(heads, rows) {
  return made("div", { class: "box" }, made("table", { class: "data" },
    made("thead", {}, made("tr", {}, heads.map(([text, kind]) => made("th", { scope: "col", class: kind }, text)))),
    made("tbody", {}, rows.map((cells) => made("tr", {}, cells.map((cell, i) => made(...(/frozen/.test(heads[i][1]) ? ["th", { scope: "row", class: heads[i][1] }] : ["td", { class: heads[i][1] }]), cell)))))));
}

const evidenceButton = (name, ...text) => made("button", { type: "button", class: "number", "data-evidence": name }, text);

// The value of every repeat, or of every training, with where it is from.
function rawValues({ estimate, metric }, content) {
  const values = estimate.values || [];
  const records = estimate.sources === undefined ? [] : content.sources[estimate.sources].map((index) => content.records[index]);
  if (!values.length) return "";
  if (estimate.members) {
    const rows = estimate.members.map(([title, name], i) => [title, evidenceButton(name, withUnit(values[i], metric))]);
    return plainTable([["Training", "text"], ["Value", ""]], rows);
  }
  const paired = records.length === values.length;
  const linked = paired && records.every((row) => isHere(row.href));
  const rows = values.map((value, i) => {
    const cells = [paired ? String(records[i].repeat) : String(i), withUnit(value, metric)];
    if (paired) cells.push(records[i].started || "");
    return linked ? [...cells, placeLink(records[i].href, "record")] : cells;
  });
  const heads = [["Repeat", "text"], ["Value", ""]];
  if (paired) heads.push(["Started (UTC)", "text"]);
  return plainTable(linked ? [...heads, ["Record", "text"]] : heads, rows);
}

function itemsPart({ items }) {
  if (!items) return "";
  const rows = items.first.map(([item, score], i) => [String(i + 1), made("code", { title: item }, item.length > 24 ? `${item.slice(0, 23)}\u2026` : item), digits(score)]);
  const table = plainTable([["#", "text"], ["Item (lm-eval's hash)", "text item"], ["Score", ""]], rows);
  const note = items.count > rows.length ? `The first ${rows.length} of ${grouped(items.count)} items` : "All items";
  return [termList(items.spread), made("details", {}, made("summary", {}, note), table,
    made("p", { class: "small muted" }, "The record has every item with what was expected and what the model said."))];
}

// What of the model's configuration a counted number follows from, and the record that has it.
function configPart({ estimate }, content) {
  if (!estimate.counted || !content.config) return "";
  if (content.config.file) return [termList(content.config.terms), made("p", { class: "small muted" }, `As ${content.config.file} has it.`)];
  const [record] = content.sources[content.config.sources].map((index) => content.records[index]);
  return [termList(content.config.terms), made("p", { class: "small muted" }, "As the record has it: ", placeLink(record.href, record.text))];
}

function recordsPart({ estimate }, content) {
  if (estimate.sources === undefined) return "";
  const rows = content.sources[estimate.sources].map((index) => content.records[index]);
  return rows.map((row) => made("li", {}, row.href ? placeLink(row.href, row.text) : row.text,
    made("span", { class: "muted" }, ` ${[row.what, row.started && `${row.started} UTC`, row.state, row.origin && `imported: ${row.origin}`].filter(Boolean).join(", ")}`)));
}

function commandPart({ estimate }, content) {
  const records = estimate.sources === undefined ? [] : content.sources[estimate.sources].map((index) => content.records[index]);
  const origins = [...new Set(records.map((row) => row.origin).filter(Boolean))];
  if (origins.length) return [made("p", {}, `Not measured by moebench: ${origins.join("; ")}. The file that was imported is named in the record.`)];
  if (estimate.again) return [commandBox(estimate.again)];
  if (!content.command) return [];
  const own = records.length || estimate.command ? [commandBox(content.command)]
    : [made("p", { class: "small muted" }, "Counted from the model's configuration when the report is written; this measures the model again:"), commandBox(content.command)];
  return estimate.command ? [...own, made("p", { class: "small muted" }, "The same score by lm-eval's own command, in the folder of the checkout:"), commandBox(estimate.command)] : own;
}

function headPart({ estimate, metric, point }, content) {
  const told = [];
  if (metric.base && metric.divisor !== 1) told.push(`${digits(estimate.value, 9)} ${metric.base}`);
  if (estimate.low !== undefined) told.push(`95 % interval ${digits(estimate.low / metric.divisor, 4)} to ${withUnit(estimate.high, metric, 4)}`);
  else if (estimate.alone) told.push("No interval");
  const basis = content.bases[estimate.basis] ?? estimate.basis;
  told.push(basis, ...(estimate.n > 1 && !basis.includes(String(estimate.n)) ? [`n = ${grouped(estimate.n)}`] : []));
  const better = metric.better ? `, ${metric.better} is better` : "";
  return [
    made("p", { class: "figure" }, withUnit(estimate.value, metric, 5)),
    made("p", { class: "small" }, `${told.join(". ")}.`),
    made("p", { class: "small muted" }, `${metric.formula}${better}. `, placeLink(content.method, "Method")),
    ...(point ? [made("p", { class: "small muted" }, `At ${point.title}: ${point.workload}.`)] : []),
    ...((point && point.flags) || []).map((flag) => made("p", { class: "flag" }, `Flagged: ${flag}.`)),
  ];
}

function titleOfName(name, content) {
  const { metric, point } = partsOfName(name, content);
  return `${metric?.title || name}${point ? `, ${point.title}` : ""}`;
}

// How two models compare in a number that both have, where the page does not say more.
function besideEachOther(names, contents) {
  const [a, b] = names.map((name, i) => partsOfName(name, contents[i]));
  if (!a.estimate || !b?.estimate || a.key !== b.key || names[0] === names[1]) return "";
  const [one, other] = [a.estimate.value, b.estimate.value];
  const ratio = other > 0 && one > 0 && a.metric.unit !== "%" ? `${contents[0].title} / ${contents[1].title} = ${significant(one / other)}. ` : "";
  const difference = a.metric.unit === "%" ? `${digits(100 * (one - other), 3)} points` : withUnit(one - other, a.metric, 3);
  return `${ratio}${contents[0].title} \u2212 ${contents[1].title} = ${difference}.`;
}

// The machine and the engine; nothing of the catalog, which measures nothing.
const measuredBy = ({ environment, engine }) => (environment ? [made("h5", {}, "Environment of the newest record"), termList(environment),
  made("details", {}, made("summary", {}, "Engine arguments"), made("pre", { class: "wrapped", tabindex: "0" }, engine))] : []);

// One side of the drawer; `alone` where it is the only one, `named` where its title is not that of the drawer.
function sideOf(name, content, { alone, named }) {
  const found = partsOfName(name, content);
  const title = titleOfName(name, content);
  const heading = made("h3", {}, content.kind ? made("span", { class: `shape ${content.kind}`, "aria-hidden": "true" }) : "",
    content.page ? placeLink(content.page, content.title) : content.title);
  if (!found.estimate) return made("article", {}, heading, made("p", {}, `This report has no ${title}: it may have had one when the address was made.`));
  const { estimate } = found;
  const parts = (estimate.parts || []).map(([task, part_]) => [task, evidenceButton(part_, withUnit(partsOfName(part_, content).estimate.value, partsOfName(part_, content).metric))]);
  const notes = [...(estimate.notes || []), ...((found.point && found.point.notes) || []), ...content.notes];
  const where = [termList(content.subject), ...measuredBy(content)];
  const records = recordsPart(found, content);
  return made("article", {}, heading, named ? made("p", { class: "which" }, title) : "", ...headPart(found, content),
    part("Made of", parts.length ? plainTable([["Task", "text"], ["Score", ""]], parts) : ""),
    part(estimate.members ? "Each training" : "Raw values", rawValues(found, content)),
    part(estimate.items ? "Task" : estimate.from ? "From" : "Counted from", estimate.terms ? termList(estimate.terms) : ""),
    part("Each layer", estimate.layers?.length ? plainTable([["Layer", "text"], ["Value", ""]], estimate.layers.map(([what, key, value]) => [what, evidenceButton(`${name.split(".").slice(0, 2).join(".")}.${key}`, digits(value, 4))])) : ""),
    part("Configuration of the model", configPart(found, content)),
    part("Items", itemsPart(estimate)),
    part(estimate.again ? "Count it again" : "Measure it again", ...commandPart(found, content)),
    part(content.about || "Model and environment", alone ? where : made("details", {}, made("summary", {}, "Revision, engine, machine"), where)),
    part("Notes", notes.length ? made("ul", { class: "plain" }, notes.map((note) => made("li", {}, `${note}.`))) : ""),
    part(records.length === 1 ? "Record" : "Records", records.length ? made("ul", { class: "records" }, records) : ""));
}

// The estimates of these names, one or two, and what to say of them together.
async function numbersOf(names) {
  const contents = await Promise.all(names.map((name) => loadEvidence(name.split(".").slice(0, 2).join("."))));
  const titles = [...new Set(names.map((name, i) => titleOfName(name, contents[i])))];
  // two numbers of one model are told apart by what they are, one number of two models by the models
  const models = new Set(contents.map((content) => content.title));
  return {
    title: titles.length === 1 ? titles[0] : models.size === 1 ? titles.join(" and ") : contents.map((one) => one.title).join(" and "), told: names.length > 1 ? besideEachOther(names, contents) : "",
    sides: names.map((name, i) => sideOf(name, contents[i], { alone: names.length === 1, named: titles.length > 1 })),
  };
}

// Opening and closing ---------------------------------------------------------------------------------------------

function drawerDialog() {
  if (drawer.dialog) return drawer.dialog;
  const close = made("button", { type: "button", class: "button close" }, "Close");
  const dialog = made("dialog", { class: "drawer", "aria-labelledby": "drawer-title" }, made("div", { class: "inside" },
    made("header", {}, made("h2", { id: "drawer-title", tabindex: "-1" }, "Evidence"), close),
    made("div", { class: "body" }), made("p", { class: "drawer-status unseen", role: "status" })));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  // what listens to keys of the page, such as a table that is walked by arrows, rests while the drawer is open
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => {
    if (dialog.open) return;
    if (drawer.names && state.get("n") === drawer.names) leaveStep(drawer.names);
    if (drawer.opener?.isConnected) drawer.opener.focus({ preventScroll: true });
    Object.assign(drawer, { names: "", opener: null });
  });
  document.body.append(dialog);
  drawer.dialog = dialog;
  return dialog;
}

// An open drawer is a step of the history, so that "Back" closes it; closing it otherwise goes back as well. One that an
// address brought has no step of its own.
function leaveStep(names) {
  if (!history.state?.drawer) { state.set("n", ""); return; }
  drawer.leaving = new Promise((done) => {
    window.addEventListener("hashchange", done, { once: true });
    setTimeout(done, 1000);
  }).then(() => {
    drawer.leaving = null;
    // another step that was made meanwhile has the number still
    if (!drawer.dialog.open && state.get("n") === names) state.set("n", "");
  });
  history.back();
}

// Closes the drawer where the address has changed already; what names no number goes from it.
function shutDrawer() {
  // where the address names a place, a reader has gone there, and the number does not take the focus back
  const { place } = partsOf(location.hash);
  Object.assign(drawer, { names: "", opener: place ? null : drawer.opener });
  if (drawer.dialog?.open) {
    drawer.dialog.close();
    if (place) document.activeElement?.blur();
  }
  if (state.get("n") && !evidenceNames(state.get("n")).length) state.set("n", "");
}

const evidenceNames = (text) => (text || "").split(" ").filter((name) => EVIDENCE_NAME.test(name)).slice(0, 2);

// Shows what stands behind `names`; `opener` gets the focus back, `basis` says how several estimates made one number.
async function openDrawer(names, opener = null, basis = "") {
  const wanted = evidenceNames(names);
  if (!wanted.length) return;
  if (drawer.leaving) await drawer.leaving;
  const dialog = drawerDialog();
  const text = wanted.join(" ");
  if (!dialog.open || opener) drawer.opener = dialog.contains(opener) ? drawer.opener : opener;
  drawer.names = text;
  // an address that has a number already, however written, is where closing it ends
  state.change({ n: text }, { step: !dialog.open && !state.get("n"), mark: { drawer: true } });
  const [title, body] = [$("h2", dialog), $(".body", dialog)];
  title.textContent = "Evidence";
  body.replaceChildren(made("p", { class: "muted" }, "Loading\u2026"));
  if (!dialog.open) dialog.showModal();
  try {
    const found = await (wanted[0].includes("@") ? nightOf(wanted[0]) : numbersOf(wanted));
    if (drawer.names !== text) return;
    title.textContent = found.title;
    const told = basis || found.told;
    body.replaceChildren(...(told ? [made("p", { class: "basis" }, told)] : []), ...found.sides);
  } catch (error) {
    if (drawer.names !== text) return;
    body.replaceChildren(made("p", {}, error.message), made("p", {}, "Copy the whole folder of the report, or write it again from the records:"), commandBox("moebench report"));
  }
  dialog.scrollTop = 0;
  title.focus();
}

// The number that an address names, with the basis that its element on this page states.
function openNamedEvidence() {
  const names = state.get("n");
  if (!names || names === drawer.names) return;
  const element = $$("[data-evidence], [data-rest], [data-cell]").find((one) => !one.matches("tr, th") && evidenceOf(one) === names);
  openDrawer(names, element || null, element?.dataset.basis || "");
}

function openEvidence(element) {
  const names = evidenceOf(element);
  if (!names) return false;
  const opener = element.closest("[data-evidence], [data-rest], [data-cell], td");
  openDrawer(names, opener, opener.dataset.basis || "");
  return true;
}

function listenForEvidence() {
  // told when a reader comes to it: a page may have thousands
  document.addEventListener("focusin", ({ target }) => { if (target.matches("button.number")) target.setAttribute("aria-haspopup", "dialog"); });
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element) || !getSelection().isCollapsed) return;
    if (event.target.closest("a, .mark, summary, input, select, label, button:not(.number)")) return;
    if (evidenceOf(event.target)) openEvidence(event.target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.target instanceof Element) || event.target.closest("a, button, summary, input, select")) return;
    if (openEvidence(event.target)) event.preventDefault();
  });
  window.addEventListener("hashchange", ({ newURL }) => {
    if (partsOf(new URL(newURL).hash).path !== standalone.shown) return;
    if (evidenceNames(state.get("n")).length) openNamedEvidence(); else shutDrawer();
  });
}
