// The matrix: filters, sorting, and the keys that walk it.
const matrix = (() => {
  const table = document.querySelector("table.matrix");
  if (!table) return null;
  const form = byId("tools");
  const body = table.tBodies[0];
  const heads = all("thead th", table);
  const chips = all(".chip", form);
  const number = new Intl.NumberFormat("en");
  const gravest = ["diverges", "error", "variant", "undecided", "conforms", "unsupported"];
  const cells = [];
  const rows = [...body.rows].map((row, place) => {
    const own = all("a.cell", row).map((link) => {
      const n = Number(link.dataset.n);
      const [spec, library, dtype] = data.facets[n];
      const column = link.closest("td").cellIndex;
      cells[n] = {
        n, link, spec, library, dtype, column, off: false, words: data.words[n], ...data.cells[n],
      };
      return cells[n];
    });
    return {
      row, place, cells: own, name: row.cells[0].textContent.trim(), spec: own[0].spec,
      findings: Number(row.cells[row.cells.length - 1].textContent.replaceAll(",", "")) || 0,
    };
  });
  let changes = null; // key -> kind, once another record is there
  let sort = "";

  const chosen = () => ({
    verdict: chips.filter((c) => c.getAttribute("aria-pressed") === "true")
      .map((c) => c.dataset.verdict).join(","),
    ...Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, k === "q" ? v.trim() : v])),
    sort,
  });

  const filter = () => {
    performance.mark("filter-start");
    const want = chosen();
    const verdicts = want.verdict.split(",").filter(Boolean);
    const needles = (want.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const cell of cells) {
      const on = (!verdicts.length || verdicts.includes(cell.verdict))
        && (!want.library || cell.library === want.library)
        && (!want.spec || cell.spec === want.spec)
        && (!want.dtype || cell.dtype === want.dtype)
        && (!want.axis || cell.axes.includes(want.axis))
        && (!want.change || !changes || changes.get(cell.key) === want.change)
        && needles.every((needle) => cell.words.includes(needle));
      if (on === cell.off) cell.link.classList.toggle("off", !on);
      cell.off = !on;
      shown += on;
    }
    for (const one of rows) one.row.hidden = one.cells.every((cell) => cell.off);
    const filtered = shown < cells.length;
    byId("shown").textContent = filtered
      ? `Showing ${number.format(shown)} of ${number.format(cells.length)} results.` : "";
    byId("reset").hidden = !filtered;
    byId("nothing").hidden = shown > 0;
    table.hidden = shown === 0;
    rove();
    table.offsetHeight; // the layout is part of what a filter costs
    performance.measure("filter", "filter-start");
  };

  const order = () => {
    const down = sort.startsWith("-");
    const by = sort.replace("-", "");
    const value = (one) => {
      if (by === "name" || by === "spec" || by === "findings") return one[by];
      const there = one.cells.filter((cell) => cell.column === Number(by) + 2);
      return there.length ? Math.min(...there.map((c) => gravest.indexOf(c.verdict))) : 99;
    };
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
    const keyed = rows.map((one) => [by ? value(one) : 0, one]);
    keyed.sort(([a, x], [b, y]) => (down ? -1 : 1) * compare(a, b) || x.place - y.place);
    body.append(...keyed.map(([, one]) => one.row));
    rows.sort((x, y) => x.row.rowIndex - y.row.rowIndex);
    for (const head of heads) {
      const own = head.dataset.sort === by && by;
      if (own) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  // One cell is in the order of Tab; arrows move from there.
  let current = null;
  const visible = () => rows.filter((one) => !one.row.hidden);
  const rove = (to) => {
    const next = to ?? (current && !current.off ? current : cells.find((cell) => !cell.off));
    if (current) current.link.tabIndex = -1;
    current = next ?? null;
    if (current) current.link.tabIndex = 0;
  };
  const step = (cell, key) => {
    const seen = visible();
    const at = seen.findIndex((one) => one.cells.includes(cell));
    const open = (one) => one.cells.filter((c) => !c.off);
    if (key === "Home") return open(seen[at])[0];
    if (key === "End") return open(seen[at]).at(-1);
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const row = open(seen[at]);
      return row[row.indexOf(cell) + (key === "ArrowRight" ? 1 : -1)];
    }
    const other = seen[at + (key === "ArrowDown" ? 1 : -1)];
    const near = (c) => Math.abs(c.column - cell.column);
    return other && open(other).sort((a, b) => near(a) - near(b))[0];
  };
  const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
  table.addEventListener("keydown", (event) => {
    const link = event.target.closest("a.cell");
    if (!link || !keys.includes(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const next = step(cells[Number(link.dataset.n)], event.key);
    if (!next) return;
    rove(next);
    next.link.focus();
  });
  table.addEventListener("focusin", (event) => {
    const link = event.target.closest("a.cell");
    if (link) rove(cells[Number(link.dataset.n)]);
  });

  for (const head of heads) {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const by = head.dataset.sort;
      const first = by === "findings" ? `-${by}` : by;
      const second = by === "findings" ? by : `-${by}`;
      sort = sort === first ? second : sort === second ? "" : first;
      order();
      form.dispatchEvent(new Event("view"));
    });
  }
  for (const link of all("a.cell", table)) link.tabIndex = -1;
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
      form.dispatchEvent(new Event("input"));
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    setTimeout(() => form.dispatchEvent(new Event("input")));
  });
  const react = (event) => {
    if (event.type === "input" && event.target instanceof HTMLSelectElement) return;
    filter();
    form.dispatchEvent(new Event("view"));
  };
  form.addEventListener("input", react); // of what is typed
  form.addEventListener("change", react); // of what is chosen
  form.hidden = false;

  return {
    form,
    chosen,
    visible: () => visible().flatMap((one) => one.cells.filter((cell) => !cell.off)),
    cell: (key) => cells.find((cell) => cell.key === key),
    focus: (cell) => { rove(cell); cell.link.focus(); },
    set: (view) => {
      const verdicts = (view.verdict ?? "").split(",");
      for (const chip of chips) {
        chip.setAttribute("aria-pressed", verdicts.includes(chip.dataset.verdict));
      }
      for (const field of form.elements) {
        if (!field.name) continue;
        field.value = view[field.name] ?? "";
        if (field.selectedIndex === -1) field.value = ""; // the URL names what is not there
      }
      const known = heads.map((head) => head.dataset.sort);
      const wanted = known.includes((view.sort ?? "").replace("-", "")) ? view.sort : "";
      if (wanted !== sort) {
        sort = wanted;
        order();
      }
      filter();
    },
    compared: (kinds) => {
      changes = kinds;
      byId("change-field").hidden = false;
      for (const cell of cells) {
        all(".change", cell.link).forEach((old) => old.remove());
        const kind = kinds.get(cell.key);
        if (kind !== "same") cell.link.append(element("small", { class: "change" }, kind));
      }
      filter();
    },
  };
})();
