// Two rules on the same gradients: an illustration in double precision, no verdict.
(() => {
  const form = byId("rules-form");
  if (!form) return;
  const ELEMENTS = 8;
  const rules = data.rules;
  const operations = {
    "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
    "**": (a, b) => a ** b, neg: (a) => -a, not: (a) => !a,
    "==": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
    ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    sqrt: Math.sqrt, max: Math.max, abs: Math.abs, sign: Math.sign,
    ema: (m, x, beta) => beta * m + (1 - beta) * x,
  };

  // A tree (operator first) as a function of the names it mentions.
  const compiled = (tree) => {
    if (typeof tree === "string") return (names) => names.get(tree);
    if (!Array.isArray(tree)) return () => tree;
    const [name, ...parts] = tree;
    const values = parts.map(compiled);
    const [a, b, c] = values;
    if (name === "if") return (names) => (a(names) ? b(names) : c(names));
    if (name === "and") return (names) => values.every((value) => value(names));
    if (name === "or") return (names) => values.some((value) => value(names));
    if (!Object.hasOwn(operations, name)) throw new Error(`unknown operation ${name}`);
    const operation = operations[name];
    if (values.length === 1) return (names) => operation(a(names));
    if (values.length === 2) return (names) => operation(a(names), b(names));
    return (names) => operation(a(names), b(names), c(names));
  };
  const programs = rules.map((rule) => ({
    ...rule,
    states: rule.states.map(([name, tree]) => [name, compiled(tree)]),
    steps: rule.steps.map(([name, tree]) => [name, compiled(tree)]),
  }));

  // N(0, 1) numbers, the same on every machine and every time.
  const normal = (() => {
    let seed = 1;
    const uniform = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return (seed + 0.5) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  })();
  const draws = Array.from({ length: ELEMENTS }, () => Array.from({ length: 1001 }, normal));
  const kinds = {
    normal: (k, t) => draws[k][t], constant: () => 1, zero: () => 0,
    alternating: (k, t) => (t % 2 ? 1 : -1),
  };

  const run = (program, hypers, gradient, steps) => draws.map(([start], k) => {
    const names = new Map([...Object.entries(hypers), ["p", start], ["lr0", hypers.lr]]);
    for (const [name, value] of program.states) names.set(name, value(names));
    const path = [start];
    for (let t = 1; t <= steps; t += 1) {
      names.set("t", t);
      names.set("grad", gradient(k, t));
      for (const [name, value] of program.steps) names.set(name, value(names));
      path.push(names.get("p"));
    }
    return path;
  });

  const sum = (values) => values.reduce((total, x) => total + x, 0);
  const apart = (a, b, t) => {
    const moved = sum(a.map((path) => (path[t] - path[0]) ** 2));
    return moved ? Math.sqrt(sum(a.map((path, k) => (path[t] - b[k][t]) ** 2)) / moved) : NaN;
  };
  // What two ways to write one rule may differ by: each equation of each step rounds, and no more
  // than the largest number that the parameter has been.
  const rounded = (a, b, rules, t) => a.every((path, k) => {
    const largest = Math.max(...path.slice(0, t + 1).map(Math.abs));
    const equations = sum(rules.map((rule) => rule.steps.length));
    return Math.abs(path[t] - b[k][t]) <= t * equations * Number.EPSILON * largest;
  });
  const taken = (kept, decayed, t) => sum(kept.map((path, k) => (path[t] - decayed[k][t]) * path[0]))
    / sum(kept.map((path) => path[0] ** 2));
  const short = (x) => (Number.isFinite(x) ? String(Number(x.toPrecision(4))) : "—");
  const percent = (x) => (Number.isFinite(x) ? `${Number((100 * x).toPrecision(3))} %` : "—");

  // ---- drawing ---------------------------------------------------------------------------------

  const narrow = matchMedia("(max-width: 44rem)"); // there the style sheet has larger letters
  const ticks = (low, high, most = 4) => {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((k) => k * power >= rough) * power;
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * step);
  };
  const chart = (title, series, format) => {
    const values = series.flatMap((one) => one.path).filter(Number.isFinite);
    if (!values.length) return element("p", { class: "note" }, `${title}: no finite number.`);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const least = 1e-12 + 1e-6 * Math.max(Math.abs(low), Math.abs(high));
    if (high - low < least) [low, high] = [low - least, high + least];
    const [line, letter] = narrow.matches ? [25, 11.5] : [14, 6.5];
    const heights = ticks(low, high);
    const longest = Math.max(...heights.map((v) => format(v).length));
    const [wide, tall, foot, right, top] = [520, 240, 2.35 * line + 8, 2 * letter, line / 2 + 5];
    const left = Math.max(62, longest * letter + 12);
    const count = series[0].path.length - 1;
    const x = (t) => left + (t / count) * (wide - left - right);
    const y = (v) => tall - foot - ((v - low) / (high - low)) * (tall - foot - top);
    const text = (at, to, anchor, words) =>
      element("text", { x: at, y: to, "text-anchor": anchor }, words);
    const lines = heights.flatMap((v) => [
      element("line", { class: "grid", x1: left, x2: wide - right, y1: y(v), y2: y(v) }),
      text(left - 9, y(v) + line / 3, "end", format(v)),
    ]);
    const across = ticks(0, count, narrow.matches ? 2 : 4)
      .map((t) => text(x(t), tall - 1.35 * line, "middle", short(t)));
    const paths = series.map((one, k) => element("g", { class: `series s${k}` },
      element("polyline", {
        points: one.path.map((v, t) => [v, t]).filter(([v]) => Number.isFinite(v))
          .map(([v, t]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join(" "),
      })));
    const legend = element("p", { class: "legend" }, ...series.map((one, k) => element("span", {},
      element("span", { class: `key s${k}`, "aria-hidden": "true" }), one.name)));
    return element("figure", {}, element("figcaption", {}, title), legend,
      element("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": title },
        ...lines, ...across, text((left + wide) / 2, tall - 0.3 * line, "middle", "step"), ...paths));
  };
  const tabulate = (table, heads, rows) => {
    const cell = (value, k) => element(k ? "td" : "th", k ? {} : { scope: "row" }, value);
    table.replaceChildren(
      element("thead", {}, element("tr", {},
        ...heads.map((h) => element("th", { scope: "col" }, h)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell)))));
  };

  // ---- what is shown ----------------------------------------------------------------------------

  const settings = (rule, shared) => ({ ...rule.hypers, ...shared });
  const update = () => {
    const [a, b] = [programs[Number(form.a.value)], programs[Number(form.b.value)]];
    const steps = Number(form.steps.value);
    const [lr, decay] = [Number(form.lr.value), Number(form.weight_decay.value)];
    const said = byId("rules-said");
    if (![lr, decay].every((v) => Number.isFinite(v) && v >= 0)
      || !form.lr.value.trim() || !form.weight_decay.value.trim()) {
      said.textContent = "lr and weight_decay are numbers of 0 or more.";
      return;
    }
    const scale = Number(form.scale.value);
    const gradient = (k, t) => scale * kinds[form.gradient.value](k, t);
    const both = Object.entries(a.hypers).filter(([name]) => name in b.hypers);
    const shared = { ...Object.fromEntries(both), lr };
    const at = (weight_decay, n) => [a, b].map((rule) =>
      run(rule, settings(rule, { ...shared, weight_decay }), gradient, n));
    const [pa, pb] = at(decay, steps);
    const [keptA, keptB] = at(0, steps);
    const names = [`A: ${a.label}`, `B: ${b.label}`];
    const every = Array.from({ length: steps + 1 }, (_, t) => t);
    byId("rules-plots").replaceChildren(
      chart("The parameter", [{ name: names[0], path: pa[0] }, { name: names[1], path: pb[0] }],
        short),
      chart("What weight_decay has taken away of it", [
        { name: names[0], path: every.map((t) => taken(keptA, pa, t)) },
        { name: names[1], path: every.map((t) => taken(keptB, pb, t)) }], percent));
    const some = [1, 10, 100, 1000].filter((t) => t <= steps);
    tabulate(byId("rules-table"),
      ["after step", "A", "B", "|A − B| / |A − start|", "decay took, A", "decay took, B"],
      some.map((t) => [String(t), short(pa[0][t]), short(pb[0][t]), short(apart(pa, pb, t)),
        percent(taken(keptA, pa, t)), percent(taken(keptB, pb, t))]));
    tabulate(byId("rules-grid"), ["lr · weight_decay", ...some.map((t) => `step ${t}`)],
      [0.1, 1, 10, 100].map((factor) => {
        const [x, y] = at(decay * factor, steps);
        return [short(lr * decay * factor), ...some.map((t) => short(apart(x, y, t)))];
      }));
    const end = apart(pa, pb, steps);
    said.textContent = !Number.isFinite(end) ? `After ${steps} steps there is no finite distance.`
      : end === 0 ? `After ${steps} steps both are at the same place.`
      : rounded(pa, pb, [a, b], steps)
      ? `After ${steps} steps both are at the same place, but for the rounding of this page.`
      : `After ${steps} steps they are ${short(end)} of A's way apart, over ${ELEMENTS} parameters.`;
    const who = (rule) => (rule.followers.length ? rule.followers.join(", ") : "none in this record");
    byId("rules-who").replaceChildren(
      element("b", {}, "A is followed by "), `${who(a)}. `,
      element("b", {}, "B is followed by "), `${who(b)}.`);
  };

  for (const select of [form.a, form.b]) {
    select.append(...rules.map((rule, k) => element("option", { value: k }, rule.label)));
  }
  const [a, b] = data.opening;
  [form.a.value, form.b.value] = [a, b];
  form.lr.value = rules[a].hypers.lr ?? 0.001;
  form.weight_decay.value = rules[a].hypers.weight_decay || 0.1;
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  narrow.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("rules").hidden = false;
  update();
})();
