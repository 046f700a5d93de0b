// What a reader has chosen on a page, kept in its address after "#?", so that a link brings it back. Every choice is a
// step that "Back" undoes; what is typed is one step however many letters it has.

const state = {
  read() {
    const at = location.hash.indexOf("?");
    return new URLSearchParams(at < 0 ? "" : location.hash.slice(at + 1));
  },
  get(name) { return this.read().get(name); },
  set(name, value) { this.change({ [name]: value }); },
  // Empty values are the default and leave the address; `mark` is kept with the step.
  change(named, { step = false, mark = {} } = {}) {
    if (step) forgetUnknown();
    const values = this.read();
    for (const [name, value] of Object.entries(named)) {
      if (value === "" || value === null || value === undefined) values.delete(name); else values.set(name, value);
    }
    values.sort();
    const before = location.hash.split("?")[0].replace(/^#$/, "");
    const text = values.toString();
    const hash = text ? `${before || "#"}?${text}` : before;
    // browsers refuse more than some hundred changes in half a minute
    if (hash === location.hash) return;
    const place = hash || location.href.split("#")[0];
    if (step) history.pushState({ ...MARK, ...mark }, "", place); else history.replaceState({ ...history.state, ...MARK }, "", place);
  },
  // What `reads`, which say by name what is left of a value, do not know leaves the address without a step. Returns it.
  tidy(reads) {
    const [kept, gone] = [{}, []];
    for (const [name, value] of this.read()) {
      const left = Object.hasOwn(reads, name) ? reads[name](value) : "";
      if (left === value) continue;
      kept[name] = left;
      gone.push(`${name}=${value}`);
    }
    this.change(kept);
    return gone;
  },
};

// Steps of a reader's history that were here before are marked; one that has no mark was made by a link just followed.
const MARK = { moebench: true };
// What is chosen, "?name=value...", but for the number whose evidence is open; empty where that is all.
function withoutNumber(chosen) {
  const values = new URLSearchParams(chosen);
  values.delete("n");
  return String(values) && `?${values}`;
}
// Whether a step changed no more than that number.
function onlyNumber({ oldURL, newURL }) {
  const [before, now] = [oldURL, newURL].map((url) => {
    const [place, chosen = ""] = new URL(url).hash.split(/\?(.*)/s);
    return `${place.replace(/^#$/, "")}${withoutNumber(chosen)}`;
  });
  return before === now;
}
const markStep = () => { if (!history.state?.moebench) history.replaceState(MARK, ""); };

// A link to a place on the page, such as the skip link, takes the whole hash: what was chosen is put back, but
// for the number whose evidence such a step has closed.
function keepState(event) {
  const [before, now] = [event.oldURL, event.newURL].map((url) => new URL(url).hash);
  const at = before.indexOf("?");
  const followed = now && !now.includes("?") && !history.state?.moebench;
  if (at >= 0 && followed) history.replaceState(MARK, "", now + withoutNumber(before.slice(at)));
  markStep();
}
