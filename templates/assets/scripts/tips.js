// Explanations of marks, on focus and pointing.

function placeTip(mark) {
  const tip = $("#tip");
  tip.textContent = mark.dataset.tip;
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
  const hide = () => { shown = null; $("#tip").hidden = true; };
  const show = (event) => {
    const mark = event.target instanceof Element && event.target.closest("[data-tip]");
    if (mark) { shown = mark; placeTip(mark); } else if (shown !== document.activeElement) hide();
  };
  const follow = () => { if (shown && shown === document.activeElement) placeTip(shown); else hide(); };
  for (const type of ["mouseover", "focusin", "click"]) document.addEventListener(type, show);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", follow, { passive: true, capture: true });
}
