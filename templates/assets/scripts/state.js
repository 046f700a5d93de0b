// What a reader has chosen on a page, kept in its address after "#?", so that a link brings it back.

const state = {
  read() {
    const at = location.hash.indexOf("?");
    return new URLSearchParams(at < 0 ? "" : location.hash.slice(at + 1));
  },
  get(name) { return this.read().get(name); },
  // An empty value is the default and leaves the address.
  set(name, value) {
    const values = this.read();
    if (value === "" || value === null || value === undefined) values.delete(name); else values.set(name, value);
    values.sort();
    const before = location.hash.split("?")[0].replace(/^#$/, "");
    const text = values.toString();
    const hash = text ? `${before || "#"}?${text}` : before;
    // browsers refuse more than some hundred changes in half a minute
    if (hash !== location.hash) history.replaceState(null, "", hash || location.href.split("#")[0]);
  },
};

// A link to a place on the page, such as the skip link, takes the whole hash: what was chosen is put back.
function keepState(event) {
  const [before, now] = [event.oldURL, event.newURL].map((url) => new URL(url).hash);
  const at = before.indexOf("?");
  if (at >= 0 && now && !now.includes("?")) history.replaceState(null, "", now + before.slice(at));
}
