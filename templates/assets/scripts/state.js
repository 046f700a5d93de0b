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
    history.replaceState(null, "", hash || location.href.split("#")[0]);
  },
};
