(() => {
  "use strict";
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const byId = (id) => document.getElementById(id);

  // Filters: verdict chips (none pressed means all), spec, words that must all occur.
  const results = all("details.result").map((details) => ({
    details,
    cell: byId(details.dataset.cell),
    verdict: details.dataset.verdict,
    spec: details.dataset.spec,
    words: all("summary, .lead strong, .library, .axis b, .facts td", details)
      .map((part) => part.textContent).join(" ").toLowerCase(),
  }));
  const chips = all(".chip");
  const spec = byId("spec");
  const search = byId("search");

  const filter = () => {
    const chosen = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true")
      .map((chip) => chip.dataset.verdict);
    const needles = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const result of results) {
      const on = (!chosen.length || chosen.includes(result.verdict))
        && (!spec.value || result.spec === spec.value)
        && needles.every((needle) => result.words.includes(needle));
      result.details.hidden = !on;
      result.cell.classList.toggle("off", !on);
      shown += on;
    }
    for (const body of all(".matrix tbody")) {
      const rows = all("tr:not(.group)", body);
      for (const row of rows) row.hidden = !row.querySelector(".cell:not(.off)");
      body.hidden = rows.every((row) => row.hidden);
    }
    byId("shown").textContent = shown === results.length
      ? "" : `Showing ${shown} of ${results.length} results.`;
  };

  if (search) {
    for (const chip of chips) {
      chip.disabled = false;
      chip.addEventListener("click", () => {
        chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
        filter();
      });
    }
    search.closest(".fields").hidden = false;
    spec.addEventListener("change", filter);
    search.addEventListener("input", filter);
    filter();
  }

  // A cell's link opens its drill-down (browsers do that unaided too) and takes the focus there.
  const reveal = (id) => {
    const details = byId(id)?.closest("details.result");
    if (!details) return;
    details.open = true;
    const summary = details.querySelector("summary");
    summary.scrollIntoView({ block: "start" });
    summary.focus({ preventScroll: true });
  };
  for (const { cell } of results) {
    cell.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      location.hash = cell.hash;
      reveal(cell.hash.slice(1));
    });
  }
  reveal(location.hash.slice(1));

  for (const button of all("button.copy")) {
    const script = button.closest(".code").querySelector("pre");
    const said = (word) => {
      button.textContent = word;
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    };
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(script.textContent);
        said("Copied");
      } catch {
        getSelection().selectAllChildren(script);
        said(document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
      }
    });
  }

  // Paper cannot be clicked: print what has findings unfolded, then fold it again.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = all("details.result:has(.finding), details.finding").filter((part) => !part.open);
    for (const part of unfolded) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of unfolded) part.open = false;
  });
})();
