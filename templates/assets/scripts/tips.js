// Explanations of marks, on focus and pointing.

// The reason is at the mark, or, in a table of many cells, by its place in the list of the page's reasons.
const reasonOf = (mark) => mark.dataset.tip || embedded("leaderboard-reasons")[mark.dataset.why];

function placeTip(mark) {
  const tip = $("#tip");
  tip.textContent = reasonOf(mark);
  tip.hidden = false;
  const from = mark.getBoundingClientRect();
  const size = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, from.left), root.clientWidth - size.width - 8);
  const below = from.bottom + 6 + size.height < window.innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? from.bottom + 6 : Math.max(8, from.top - size.height - 6)}px`;
}

function listenForTips() {
  let shown = null;
  const isFocused = () => shown && (shown === document.activeElement || shown.parentElement === document.activeElement);
  const hide = () => { shown = null; $("#tip").hidden = true; };
  const show = (event) => {
    const at = event.target instanceof Element && event.target;
    const mark = at && (at.closest("[data-tip], [data-why]") || (event.type === "focusin" && at.matches("td, th") && $("[data-why]", at)));
    if (mark) { shown = mark; placeTip(mark); } else if (!isFocused()) hide();
  };
  const follow = () => { if (isFocused()) placeTip(shown); else hide(); };
  for (const type of ["mouseover", "focusin", "click"]) document.addEventListener(type, show);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", follow, { passive: true, capture: true });
}
