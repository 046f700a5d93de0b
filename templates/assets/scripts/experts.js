// The heat map of experts.

// Typed arrays as Python packs them: little-endian, in base64.
const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
const unpacked = ({ dtype, bdata }) => new KINDS[dtype](Uint8Array.from(atob(bdata), (character) => character.charCodeAt(0)).buffer);

// The loads of the layers that have tokens in a phase, or in both; a layer without any is null.
function loadsOf(work, phase) {
  const found = work.layers.map(() => null);
  for (const name of phase === "both" ? Object.keys(work.phases) : [phase]) {
    const { rows, loads } = work.phases[name];
    rows.forEach((row, i) => {
      found[row] = found[row] || new Float64Array(work.layers[row][1]);
      unpacked(loads[i]).forEach((load, expert) => { found[row][expert] += load; });
    });
  }
  return found;
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const three = (number) => (number >= 999.5 ? grouped(Math.round(number)) : String(Number(number.toPrecision(3))));

// One row of the map: of every `step` experts in the chosen order the busiest, as a colour and in words.
function expertRow([title, experts, topK], load, { byLoad, from, to, step, doublings }) {
  const total = load.reduce((sum, value) => sum + value, 0);
  const order = Array.from(load, (_, expert) => expert);
  if (byLoad) order.sort((a, b) => load[b] - load[a] || a - b);
  const row = { z: [], dead: [], text: [] };
  for (let start = from; start < to; start += step) {
    const some = order.slice(start, Math.min(start + step, to));
    if (!some.length) { for (const values of Object.values(row)) values.push(null); continue; }
    const expert = some.reduce((best, other) => (load[other] > load[best] ? other : best));
    const relative = load[expert] * experts / total;
    row.z.push(Math.max(-doublings, Math.min(doublings, Math.log2(relative))));
    row.dead.push(load[expert] === 0 ? 1 : null);
    row.text.push(`layer ${title}, expert ${expert}<br>${three(relative)} \u00d7 an even share<br>${three(100 * load[expert] * topK / total)} % of tokens (${grouped(load[expert])})`);
  }
  return row;
}

const EMPTY = { z: [], dead: [], text: [] };
const steps = (count) => [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 256, 512].find((step) => count / step <= 16) || 1024;

function expertTraces(rows, x) {
  const low = Number(-x.doublings);
  const shared = { type: "heatmap", y0: 0, dy: 1, x0: x.from + (x.step - 1) / 2, dx: x.step, showscale: false, ...(x.gap ? { xgap: 1, ygap: 1 } : {}) };
  const names = ["below-2", "below-1", "even", "above-1", "above-2"];
  const traces = [{
    ...shared, z: rows.map((row) => row.z), text: rows.map((row) => row.text), hovertemplate: "%{text}<extra></extra>", hoverongaps: false,
    zmin: low, zmax: -low, colorscale: names.map((name, i) => [i / 4, colour(name)]),
  }];
  if (rows.some((row) => row.dead.some(Boolean))) {
    const ink = colour("ink");
    traces.push({ ...shared, z: rows.map((row) => row.dead), zmin: 0, zmax: 1, colorscale: [[0, ink], [1, ink]], hoverinfo: "skip" });
  }
  return traces;
}

// What can be chosen. The address names options by `data-name` or value, where they are not those that the page proposes.
const CHOICES = ["work", "phase", "order", "range"];
const expertChoice = (name) => document.getElementById(`experts-${name}`);
const optionName = (option) => option.dataset.name || option.value || "all";
const optionOf = (name, wanted) => [...expertChoice(name)?.options || []].find((option) => optionName(option) === wanted);
const chosenExperts = () => Object.fromEntries(CHOICES.filter(expertChoice).map((name) => [name, optionName(expertChoice(name).selectedOptions[0])]));

// What an address may keep; a phase only where the work has it.
function expertsReads() {
  if (!$("[data-experts]")) return {};
  const work = optionOf("work", state.get("work")) || expertChoice("work").options[0];
  const known = (name, wanted) => optionOf(name, wanted) && (name !== "phase" || wanted in embedded(work.value).words);
  return Object.fromEntries(CHOICES.filter(expertChoice).map((name) => [name, (wanted) => (known(name, wanted) ? wanted : "")]));
}

// What the page proposes, whatever a browser has selected again: the first of each, but where all experts would share
// columns of three and more, a narrow window begins with the first stretch.
function usualExperts(box) {
  const usual = Object.fromEntries(CHOICES.filter(expertChoice).map((name) => [name, optionName(expertChoice(name).options[0])]));
  const work = embedded(expertChoice("work").options[0].value);
  if (usual.range && mostExperts(work) / mapWidth(box) > 2) usual.range = optionName(expertChoice("range").options[1]);
  return { ...usual, phase: phaseIn(work, usual.phase) };
}

// Selects what the address names; where it names nothing that is known, what the page proposes.
function chooseExperts(usual) {
  for (const [name, proposed] of Object.entries(usual)) {
    expertChoice(name).value = (optionOf(name, state.get(name)) || optionOf(name, proposed)).value;
  }
  offerPhases();
}

function restoreExperts() {
  const box = $("[data-experts][data-ready]");
  if (!box) return;
  const before = JSON.stringify(chosenExperts());
  chooseExperts(box.usual);
  if (JSON.stringify(chosenExperts()) !== before) drawExperts(box);
}

// The phase that is asked for where the work has it, else the first that it has.
const phaseIn = (work, phase) => (phase in work.words ? phase : [...expertChoice("phase").options].map(optionName).find((one) => one in work.words));

// Only the phases of the chosen work can be chosen.
function offerPhases() {
  const [phases, work] = [expertChoice("phase"), embedded(expertChoice("work").value)];
  for (const option of phases.options) option.disabled = !(option.value in work.words);
  phases.value = phaseIn(work, phases.value);
}

function connectExperts(box) {
  box.usual = usualExperts(box);
  chooseExperts(box.usual);
  const keep = () => {
    offerPhases();
    drawExperts(box);
    const chosen = Object.entries(chosenExperts());
    state.change(Object.fromEntries(chosen.map(([name, value]) => [name, value === box.usual[name] ? "" : value])), { step: true });
  };
  for (const name of Object.keys(box.usual)) expertChoice(name).addEventListener("change", keep);
}

const mostExperts = (work) => Math.max(...work.layers.map(([, experts]) => experts));
const mapWidth = (box) => box.clientWidth - 80;

function drawExperts(box) {
  if (!box.dataset.ready) { box.dataset.ready = "1"; connectExperts(box); }
  const work = embedded(expertChoice("work").value);
  const phase = expertChoice("phase").value;
  const [most, width] = [mostExperts(work), mapWidth(box)];
  const start = expertChoice("range")?.value;
  const from = start ? Number(start) : 0;
  const to = start ? Math.min(from + Number(box.dataset.span), most) : most;
  const x = { byLoad: expertChoice("order").value === "load", from, to, step: Math.max(1, Math.ceil((to - from) / width)), doublings: Number(box.dataset.doublings) };
  const rows = loadsOf(work, phase).map((load, i) => (load ? expertRow(work.layers[i], load, x) : EMPTY));
  const titles = work.layers.map(([title]) => title);
  const every = Math.max(1, Math.ceil(18 * titles.length / (box.clientHeight - 60)));
  const shown = titles.map((_, i) => i).filter((i) => i % every === 0);
  document.getElementById("experts-words").textContent = work.words[phase];
  document.getElementById("experts-bins").textContent = x.step > 1 ? `Each column shows the busiest of ${x.step} experts.` : "";
  const layout = {
    ...frame(), margin: { l: 56, r: 8, t: 8, b: 48 }, showlegend: false,
    xaxis: axis({ title: { text: x.byLoad ? "Place by load" : "Expert", font: { size: 13 }, standoff: 6 }, range: [from - 0.5, to - 0.5], tick0: 0, dtick: steps(Math.max(to - from, 1) * Math.max(1, 700 / width)), showgrid: false, fixedrange: true }),
    yaxis: axis({ title: { text: "Layer", font: { size: 13 } }, range: [titles.length - 0.5, -0.5], tickvals: shown, ticktext: shown.map((i) => titles[i]), showgrid: false, fixedrange: true }),
  };
  return window.Plotly.react(box, expertTraces(rows, { ...x, gap: width / (to - from) > 14 }), layout, settings);
}
