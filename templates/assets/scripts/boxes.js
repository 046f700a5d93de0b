// Boxes that scroll sideways: where there is more to the right the edge fades, and columns that are added come in sight.

const goesOn = (box) => box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
const tellEdge = (box) => box.classList.toggle("goes-on", goesOn(box));

let widths = null; // what watches how wide boxes and their tables are
function watchBoxes() {
  widths?.disconnect();
  widths = new ResizeObserver((entries) => {
    for (const box of new Set(entries.map((entry) => entry.target.closest(".box")))) if (box) tellEdge(box);
  });
  for (const box of $$(".box")) {
    for (const part of [box, ...$$("table", box)]) widths.observe(part);
    box.addEventListener("scroll", () => tellEdge(box), { passive: true });
  }
}

// As far to the left as it takes to see the last of some columns, without the first going under those that stay.
function bringInSight(api, places) {
  const box = api.table().node().closest(".box");
  const heads = places.map((place) => api.column(place).header()).filter((head) => head.isConnected);
  if (!box || !heads.length) return;
  const { left, right } = box.getBoundingClientRect();
  const fixed = $$("thead tr:last-child .frozen", box).map((head) => head.getBoundingClientRect().right);
  const start = Math.max(left, ...fixed.filter((end) => end < right));
  const ends = heads.map((head) => head.getBoundingClientRect());
  const [first, last] = [Math.min(...ends.map((end) => end.left)), Math.max(...ends.map((end) => end.right))];
  const beyond = Math.min(last - right, first - start);
  if (beyond > 0) box.scrollLeft += beyond;
}
