// The drawer of a night: what stands behind one point of a history, and the records of that night.
//
// A night is named like its estimate, with the minutes since 1970 at which it began behind an "@". The page has the
// values; evidence/<suite>/<model>/nights.js and evidence/<suite>/__runs.js say where they are from.

const nightName = (data, id, night) => (data.evidence ? `${data.evidence}.${id}@${data.times[night]}` : "");
const pageHistory = () => { const box = $("[data-history]"); return box ? embedded(box.dataset.history) : null; };

async function nightOf(name) {
  const [number, minutes] = name.split("@");
  const [suite, model, ...rest] = number.split(".");
  const files = [`${suite}.${model}`, `${suite}.${model}.nights`, `${suite}.__runs`];
  const [content, nights, runs] = await Promise.all(files.map(loadEvidence));
  const data = pageHistory();
  const [id, night] = [rest.join("."), data ? data.times.indexOf(Number(minutes)) : -1];
  if (data?.evidence !== `${suite}.${model}` || !data.series[id] || night < 0) {
    throw new Error("The history on this page has no such night: it may have had it when the address was made.");
  }
  const found = { data, night, packed: data.series[id], ...recordsOfNight(data.series[id].cell, night, nights, runs) };
  const title = `${plainText(found.packed.title)}${found.packed.where ? ` ${plainText(found.packed.where)}` : ""}`;
  return { title: `${title}, ${nightText(data.times[night]).slice(0, 10)}`, sides: [nightSide(found, content, rest[0])] };
}

function recordsOfNight(cell, night, nights, runs) {
  const [folder, files] = nights.cells[cell];
  const [commit, machine] = runs.environments[nights.environments[night]];
  return {
    files: files[night].map((file) => `${runs.folder}/${folder}/${file}.json`), run: runs.ids[nights.runs[night]], commit,
    machine: runs.machines[machine],
  };
}

function nightSide(found, content, metric) {
  const { data, night, packed, files } = found;
  const terms = [["Run", found.run], ["Begun", `${nightText(data.times[night])} UTC`], ["Commit", found.commit], ...found.machine];
  const known = new Map(content.records.map((row) => [decodeURIComponent(row.href).replace(/^records\//, ""), row.href]));
  const records = files.map((file) => made("li", {}, known.has(file) ? placeLink(known.get(file), `results/${file}`) : `results/${file}`));
  const changes = data.changes.filter(([at]) => at === night).map(([, , words]) => plainText(words));
  return made("article", {},
    made("h3", {}, made("span", { class: `shape ${content.kind}`, "aria-hidden": "true" }), placeLink(content.page, content.title)),
    ...nightHead(found, content.metrics[metric], content),
    part("Changed since the night before", changes.length ? made("p", { class: "small" }, `${changes.join("; ")}.`) : ""),
    part("Run and environment", termList(terms)),
    part(records.length === 1 ? "Record" : "Records", ...(records.length ? [
      made("ul", { class: "records" }, records),
      made("p", { class: "small muted" }, "A report has the newest records inside; those of earlier nights lie in the folder of the results."),
    ] : [])),
    part("Measure it again", commandBox(content.command),
      made("p", { class: "small muted" }, "With the commit and the versions above, to see that night's figure again.")));
}

// The value with its interval, or why there is none.
function nightHead({ data, night, packed, files }, metric, content) {
  const nights = nightly(data, packed);
  const [value, reach, unit] = [nights.values[night], reachOf(nights, night), packed.unit ? `\u00a0${packed.unit}` : ""];
  const formula = metric ? [made("p", { class: "small muted" }, `${metric.formula}. `, placeLink(content.method, "Method"))] : [];
  if (value === null) {
    const why = data.failed[packed.cell].find(([at]) => at === night)?.[1];
    return [made("p", { class: "flag" }, `Not measured: ${why ? plainText(why) : "that night has no value of this figure"}.`), ...formula];
  }
  const [below, above] = reach || [0, 0];
  const alike = !reach ? "No interval" : files.length === 1 ? "The interval has no width" : "All repeats have this value";
  const interval = below + above > 0 ? `95 % interval ${digits(value - below, 4)} to ${digits(value + above, 4)}${unit}` : alike;
  const mean = files.length === 1 ? "From one record." : `The mean over the repeats of that night: ${files.length} records.`;
  return [made("p", { class: "figure" }, `${digits(value, 5)}${unit}`), made("p", { class: "small" }, `${interval}. ${mean}`), ...formula];
}
