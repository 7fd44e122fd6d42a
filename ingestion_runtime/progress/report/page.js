"use strict";
(() => {
  const table = document.getElementById("tables");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, at, number) => {
    const cell = row.cells[at];
    const text = cell.dataset.v ?? cell.textContent.trim();
    return number ? Number.parseFloat(text.replaceAll(",", "")) || 0 : text;
  };
  const order = new Intl.Collator(undefined, { numeric: true });

  heads.forEach((head, at) => {
    const number = head.classList.contains("n");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers are looked at from the largest, names from the first.
      const first = number ? "descending" : "ascending";
      const other = number ? "ascending" : "descending";
      const now = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", now);
      const sign = now === "ascending" ? 1 : -1;
      const keyed = rows.map((row) => [value(row, at, number), row]);
      keyed.sort(([one], [two]) => sign * (number ? one - two : order.compare(one, two)));
      body.append(...keyed.map(([, row]) => row));
    });
  });

  const find = document.getElementById("find");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  find.hidden = false;
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, at) => { row.hidden = !words.every((word) => texts[at].includes(word)); });
  });
})();
