// The light and the dark theme: by the system's preference until a reader chooses.

const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);

function applyTheme() {
  root.classList.toggle("dark", isDark());
  const button = $(".theme");
  if (button) button.textContent = isDark() ? "Light theme" : "Dark theme";
  if (root.dataset.drawn) drawCharts();
}

function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("moebench-theme", root.dataset.theme); } catch { /* a browser may keep nothing for files */ }
  applyTheme();
}

function listenForTheme() {
  document.addEventListener("click", (event) => { if (event.target instanceof Element && event.target.closest(".theme")) switchTheme(); });
  prefersDark.addEventListener("change", applyTheme);
}
