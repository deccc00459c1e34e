// Another record beside this one, by the rules of reports/baseline.py.
const comparing = (() => {
  const NUMBER = /-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?/g;
  const FAULTS = ["variant", "diverges", "error"];
  const MEANINGS = {
    new: "conformed or was not at fault before, and is now",
    fixed: "was at fault before, and conforms now",
    changed: "says something else than before",
    added: "was not judged before",
    removed: "was judged before, and is not now",
    same: "says what it said",
  };
  const USUAL = {
    scalars: "float64", hypers: "exact", memory: "shown", subnormals: "kept", rounding: "nearest",
  };
  const VERDICTS = ["conforms", "variant", "diverges", "undecided", "unsupported", "error"];
  const UNSEEN = new RegExp("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e"
    + "\\u2060-\\u2069\\ufeff]|[\\ud800-\\udbff](?![\\udc00-\\udfff])"
    + "|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]", "g");
  const visible = (text) => text.replaceAll("\r\n", "\n").replace(UNSEEN, (found) =>
    `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  const asMap = (value) => (isMap(value) ? value : {});
  const pairs = (map) => Object.entries(map).map(([k, v]) => `${k} = ${text(v)}`).join(", ");
  const text = (value) => {
    if (value === null || value === undefined) return "—";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (Array.isArray(value)) return `[${value.map(text).join(", ")}]`;
    return isMap(value) ? pairs(value) : String(value);
  };

  // What is compared of a record; an Error, in one sentence, for what is none.
  const told = (record) => {
    if (asMap(record).schema !== "optconform/report/1") {
      throw new Error("this file is no record of optconform/report/1");
    }
    if (!Array.isArray(record.results)) throw new Error("the record has no list of results");
    const seen = new Map();
    const cells = record.results.map((result, place) => {
      const names = ["spec", "implementation", "dtype"].map((field) => asMap(result)[field]);
      if (names.some((n) => typeof n !== "string") || !VERDICTS.includes(result.verdict)) {
        throw new Error(`result ${place + 1} of the record cannot be read`);
      }
      const name = visible(names.map((n) => n.slice(0, 300)).join("/"));
      seen.set(name, (seen.get(name) ?? 0) + 1);
      const found = Array.isArray(result.findings) ? result.findings.filter(isMap) : [];
      const masked = found.map((f) => visible(
        `${text(f.kind)}: ${text(f.summary)}`.replace(NUMBER, "#").slice(0, 300)));
      const profile = Object.entries(asMap(result.profile)).filter(([k, v]) => USUAL[k] !== v);
      const deviations = { ...asMap(result.variant), ...Object.fromEntries(profile) };
      return {
        key: seen.get(name) === 1 ? name : `${name}/${seen.get(name)}`,
        verdict: result.verdict,
        follows: visible(pairs(deviations)).slice(0, 300),
        findings: [...new Set(masked)].sort(),
      };
    });
    const run = asMap(record.run);
    const settings = ["seed", "examples", "steps"].filter((k) => k in run).map((k) => [k, run[k]]);
    const named = [...Object.entries(asMap(record.environment)), ...settings];
    const versions = named.map(([k, v]) => `${text(k)} ${text(v)}`).join(", ");
    return { cells, versions: visible(versions.slice(0, 600)) };
  };

  const kindOf = (was, now) => {
    if (!was || !now) return was ? "removed" : "added";
    const alike = was.verdict === now.verdict && was.follows === now.follows
      && JSON.stringify(was.findings) === JSON.stringify(now.findings);
    if (alike) return "same";
    if (FAULTS.includes(now.verdict) && !FAULTS.includes(was.verdict)) return "new";
    if (FAULTS.includes(was.verdict) && now.verdict === "conforms") return "fixed";
    return "changed";
  };

  const says = (cell, other) => {
    if (!cell) return ["not judged"];
    const own = cell.findings.filter((finding) => !other?.findings.includes(finding));
    const both = cell.findings.length - own.length;
    const out = [element("span", { class: `badge ${cell.verdict}` }, cell.verdict)];
    if (cell.follows) out.push(element("small", {}, cell.follows));
    for (const finding of own) out.push(element("small", {}, finding));
    if (both) out.push(element("small", { class: "quiet" }, `${both} in both`));
    return out;
  };

  const show = (before) => {
    const here = new Map(data.cells.map((cell) => [cell.key, cell]));
    const there = new Map(before.cells.map((cell) => [cell.key, cell]));
    const keys = [...new Set([...here.keys(), ...there.keys()])];
    const kinds = new Map(keys.map((key) => [key, kindOf(there.get(key), here.get(key))]));
    const counts = Object.keys(MEANINGS)
      .map((kind) => [kind, keys.filter((key) => kinds.get(key) === kind).length])
      .filter(([, count]) => count);
    byId("changes-said").textContent = `Since ${before.versions || "that run"}: `
      + `${counts.map(([kind, count]) => `${count} ${kind}`).join(", ")}.`;
    const row = (key) => {
      const link = here.has(key) ? element("a", { href: `#${state.text({ cell: key })}` }, key) : key;
      return element("tr", { "data-kind": kinds.get(key) },
        element("th", { scope: "row", class: "path" }, link), element("td", {}, kinds.get(key)),
        element("td", {}, ...says(there.get(key), here.get(key))),
        element("td", {}, ...says(here.get(key), there.get(key))));
    };
    const head = ["cell", "change", "before", "now"].map((h) => element("th", { scope: "col" }, h));
    const rank = Object.keys(MEANINGS);
    const told = keys.filter((key) => kinds.get(key) !== "same")
      .sort((a, b) => rank.indexOf(kinds.get(a)) - rank.indexOf(kinds.get(b)));
    const table = element("table", { class: "list" },
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...told.map(row)));
    const legend = element("p", { class: "note" },
      counts.map(([kind]) => `${kind}: ${MEANINGS[kind]}`).join("; ") + ".");
    const frame = element("div", {
      class: "scroll", tabindex: "0", role: "region", "aria-label": "What has changed",
    }, table);
    byId("changes-table").replaceChildren(legend, ...(told.length ? [frame] : []));
    matrix?.compared(kinds);
  };

  byId("other").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      show(told(JSON.parse(await file.text())));
    } catch (error) {
      const why = error instanceof SyntaxError ? "this file is no JSON" : error.message;
      byId("changes-said").textContent = `Cannot compare: ${why}.`;
      byId("changes-table").replaceChildren();
    }
  });
  byId("changes").hidden = false;
  if (data.before) show(data.before);
})();
