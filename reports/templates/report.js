// What a cell opens, and the ways there and back.
(async () => {
  const packed = Uint8Array.from(atob(byId("cells").textContent), (c) => c.charCodeAt(0));
  const inflated = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bodies = new Response(inflated).json(); // a list of markup, escaped when it was rendered
  const article = byId("cell");
  let opened = null;
  let left = 0; // where the matrix was scrolled to

  const close = () => {
    if (!opened) return;
    const cell = opened;
    opened = null;
    article.hidden = true;
    byId("whole").hidden = false;
    document.body.classList.remove("in-cell");
    if (!state.isSection()) {
      matrix.focus(cell);
      scrollTo(0, left);
    }
  };

  const turn = (cell) => {
    const seen = matrix.visible();
    const at = seen.indexOf(cell);
    const link = (n, label) => (seen[n]
      ? [element("a", { href: `#${state.text({ ...matrix.chosen(), cell: seen[n].key })}` }, label)]
      : []);
    byId("turn").replaceChildren(...(at < 0 ? [] : [
      ...link(at - 1, "← previous"), element("span", { class: "quiet" },
        `${at + 1} of ${seen.length}`), ...link(at + 1, "next →")]));
    byId("back").href = `#${state.text(matrix.chosen())}`;
  };

  const open = async (cell) => {
    const markup = (await bodies)[cell.n];
    if (!opened) left = scrollY;
    opened = cell;
    byId("cell-body").innerHTML = markup;
    turn(cell);
    byId("whole").hidden = true;
    article.hidden = false;
    document.body.classList.add("in-cell");
    scrollTo(0, 0);
    byId("cell-title").focus({ preventScroll: true });
  };

  const follow = async () => {
    if (!matrix) return;
    if (state.isSection()) {
      close();
      document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
      return;
    }
    const view = state.read();
    if (state.text({ ...view, cell: "" }) !== state.text(matrix.chosen())) matrix.set(view);
    const cell = view.cell && matrix.cell(view.cell);
    if (cell) await open(cell);
    else close();
  };

  if (matrix) {
    matrix.set(state.read());
    matrix.form.addEventListener("view", () => {
      history.replaceState(null, "", `#${state.text(matrix.chosen())}`);
    });
    document.querySelector("table.matrix").addEventListener("click", (event) => {
      const link = event.target.closest("a.cell");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const key = data.cells[Number(link.dataset.n)].key;
      location.hash = state.text({ ...matrix.chosen(), cell: key });
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, select, textarea");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        if (opened) location.hash = state.text(matrix.chosen());
        close();
        matrix.form.elements.q.focus();
      } else if (event.key === "Escape" && opened) {
        location.hash = state.text(matrix.chosen());
      }
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const script = button.closest(".code").querySelector("pre");
    const said = (word) => {
      button.textContent = word;
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    };
    try {
      await navigator.clipboard.writeText(script.textContent);
      said("Copied");
    } catch {
      getSelection().selectAllChildren(script);
      said(document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
    }
  });

  addEventListener("hashchange", follow);
  await follow();
  await bodies;
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
})();
