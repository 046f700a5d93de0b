// The cards of pairs show what the table of verdicts shows, and nothing else.

function followTable(list) {
  const table = window.moebenchTables.jQuery(document.getElementById(list.dataset.cards)).DataTable();
  const cards = [...list.children];
  const show = () => {
    const seen = new Set(table.rows({ search: "applied" }).indexes().toArray());
    cards.forEach((card, index) => { card.hidden = !seen.has(index); });
  };
  table.on("draw", show);
  show();
}
