// One file with all pages: the address names a page, "#/models/x.html#place?state", and this swaps it in.
// Outside such a file none of it does anything.

const standalone = {
  shown: root.dataset.first || "",   // the page in sight; empty where pages are files of their own
  pages: new Map(), files: new Map(), scrolled: new Map(),
  y: 0,                              // how far the page in sight is scrolled
};

const readInert = (element) => element.textContent.replace(/<\\(\\*)(?=\/?script|!--)/gi, "<$1");

// "#/path#place?state" in parts; a hash without a path is a place on the page in sight.
function partsOf(hash) {
  const at = hash.indexOf("?");
  const before = at < 0 ? hash : hash.slice(0, at);
  const [, path, place] = /^#\/([^#]*)#?(.*)$/.exec(before) || [null, "", before.slice(1)];
  return { path: path || standalone.shown, place, state: at < 0 ? "" : hash.slice(at) };
}

const addressIn = ({ path, place, state: chosen }) => `#/${path}${place ? `#${place}` : ""}${chosen}`;

// The address within this file of what a page names relative to itself.
function addressOf(href) {
  const target = new URL(href, `file:///${standalone.shown}`);
  const { place, state: chosen } = partsOf(target.hash);
  return addressIn({ path: decodeURIComponent(target.pathname.slice(1)), place, state: chosen });
}

function leavePage() {
  for (const box of $$(".js-plotly-plot")) window.Plotly.purge(box);
  if (window.moebenchTables) window.moebenchTables.jQuery.fn.dataTable.tables({ api: true }).destroy();
  restoreTable = () => {};
  tableReads = {};
  shutDrawer();
  for (const dialog of $$("dialog[open]")) dialog.close();
  for (const left of $$("body > .dt-button-collection, body > .dt-button-background")) left.remove();
  $("#tip").hidden = true;
  delete root.dataset.ready;
}

function swapIn(path) {
  const page = standalone.pages.get(path);
  leavePage();
  standalone.shown = path;
  const held = document.createElement("template");
  held.innerHTML = page ? page.html() : notInside(path);
  $(".page").replaceWith(held.content);
  document.title = page ? page.title : "Not in this file · moebench";
  preparePage();
}

const notInside = (path) => `<div class="page"><main id="main"><div class="head"><h1>This page is not in the file</h1>
  <p class="lead">Nothing here has the name ${escaped(path)}. <a href="#/${escaped(root.dataset.first)}">To the first page</a></p></div></main></div>`;

// A place is scrolled to and focused; without one the heading is, so that it is read out.
function arriveAt(place, scroll) {
  const target = place && document.getElementById(decodeURIComponent(place));
  const focused = target || $("h1");
  if (focused) {
    if (focused.tabIndex < 0) focused.setAttribute("tabindex", "-1");
    focused.focus({ preventScroll: true });
  }
  if (target) target.scrollIntoView({ behavior: "instant" }); else window.scrollTo({ top: scroll, behavior: "instant" });
}

// A step back or forward, or a link that was followed: the browser has changed the address already.
function followAddress(event) {
  if (onlyNumber(event)) { markStep(); return; }
  const [before, now] = [event.oldURL, event.newURL].map((url) => partsOf(new URL(url).hash));
  const back = Boolean(history.state?.moebench);
  const here = now.path === standalone.shown;
  standalone.scrolled.set(addressIn(before), standalone.y);
  // the skip link and others to a place on this page keep what was chosen
  if (here && now.place && !now.state && !back) now.state = withoutNumber(before.state);
  history.replaceState({ ...history.state, ...MARK }, "", addressIn(now));
  if (here && now.place === before.place && canRestore()) { restorePage(); return; }
  if (!here || withoutNumber(now.state) !== withoutNumber(before.state)) swapIn(now.path);
  arriveAt(now.place, back ? standalone.scrolled.get(addressIn(now)) || 0 : 0);
}

// Follows a link that is no element, such as a point of a chart; outside such a file as the browser does.
function visit(href) {
  if (!standalone.shown) { location.href = href; return; }
  location.hash = addressOf(href);
}

// Before a link is followed, opened in a tab or copied it gets its address within this file.
function localise(event) {
  const link = event.target instanceof Element && event.target.closest("a[href]");
  if (!link) return;
  const href = link.getAttribute("href");
  if (href.startsWith("#/") || /^[a-z]+:/i.test(href)) return;
  link.setAttribute("href", href.startsWith("#") ? addressIn({ ...partsOf(href), path: standalone.shown }) : addressOf(href));
}

function save(path) {
  const element = standalone.files.get(path);
  const content = "base64" in element.dataset
    ? Uint8Array.from(atob(element.textContent), (character) => character.charCodeAt(0)) : readInert(element);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content]));
  link.download = path.split("/").pop();
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function startStandalone() {
  const first = $(".page").outerHTML;
  standalone.pages.set(standalone.shown, { title: document.title, html: () => first });
  for (const element of $$("script[data-page]")) {
    standalone.pages.set(element.dataset.page, { title: element.dataset.title, html: () => readInert(element) });
  }
  for (const element of $$("script[data-file]")) standalone.files.set(element.dataset.file, element);
  history.scrollRestoration = "manual";
  for (const type of ["pointerdown", "focusin", "click"]) document.addEventListener(type, localise, true);
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href^='#']");
    if (!link || event.defaultPrevented) return;
    const { path } = partsOf(link.getAttribute("href"));
    if (standalone.files.has(path)) { event.preventDefault(); save(path); }
  });
  window.addEventListener("scroll", () => { standalone.y = window.scrollY; }, { passive: true });
  window.addEventListener("hashchange", followAddress);
}

// The page that the address names when the file is opened, and the place on it that a browser does not find behind "?".
function openAddress() {
  const { path, place, state: chosen } = partsOf(location.hash);
  if (standalone.shown) history.replaceState({ ...history.state, ...MARK }, "", addressIn({ path, place, state: chosen }));
  if (standalone.shown && path !== standalone.shown) swapIn(path); else preparePage();
  if (place && (standalone.shown || location.hash.includes("?"))) arriveAt(place, 0);
}
