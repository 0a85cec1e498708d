"use strict";
// The curves of a report: overlay of runs, zoom by dragging, values under the cursor, log, smoothing.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const words = data.words, root = document.documentElement;
  const state = { axis: data.axis, log: false, smooth: 0, hidden: new Set(), band: true };
  const plots = [];

  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  // Those of the cockpit; where they repeat, dashes differ.
  const colour = (at) => data.colours[root.dataset.theme][at % data.colours.light.length];
  const dashes = (at) => [[], [8, 4], [2, 3], [8, 3, 2, 3]][Math.floor(at / data.colours.light.length) % 4];

  function choose(theme) {
    root.dataset.theme = theme;
    for (const mark of document.querySelectorAll("[data-run]")) {
      const at = +mark.dataset.run, back = style("--back"), turned = [0, 45, 90, 135][Math.floor(at / data.colours.light.length) % 4];
      mark.style.background = turned ? `repeating-linear-gradient(${turned}deg, ${colour(at)} 0 3px, ${back} 3px 5px)` : colour(at);
    }
  }

  // Where a run was at a step: on tokens, seconds or FLOPs, between the rows that are known.
  function place(run, steps) {
    if (state.axis === "step") return steps;
    const at = run.positions, known = at.x;
    const to = state.axis === "time" ? at.seconds
      : state.axis === "flops" ? at.tokens.map((t) => t === null ? null : t * run.flops_per_token) : at.tokens;
    let i = 0;
    return steps.map((step) => {
      while (i < known.length - 2 && known[i + 1] < step) i++;
      if (known.length < 2 || to[i] === null || to[i + 1] === null) return to[i] ?? 0;
      const share = (step - known[i]) / (known[i + 1] - known[i] || 1);
      return to[i] + Math.min(Math.max(share, 0), 1) * (to[i + 1] - to[i]);
    });
  }

  // An exponential average whose weight sums to one, as the cockpit has it; gaps stay gaps.
  function smoothed(values) {
    if (!state.smooth) return values;
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = state.smooth * sum + (1 - state.smooth) * value;
      weight = state.smooth * weight + (1 - state.smooth);
      return sum / weight;
    });
  }

  const positive = (values) => state.log ? values.map((value) => value > 0 ? value : null) : values;

  // x must rise: of points at one place the last counts.
  function rising(x, columns) {
    const keep = x.map((value, i) => i === x.length - 1 || x[i + 1] > value);
    const pick = (list) => list.filter((_, i) => keep[i]);
    return [pick(x), ...columns.map(pick)];
  }

  function figure(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size >= 1e5 || (size && size < 1e-3)) return value.toExponential(2);
    return String(+value.toPrecision(5));
  }

  function draw(box, metric) {
    const tables = [], series = [{ label: words[state.axis],
      value: (_, v) => v === null ? "–" : state.axis === "step" ? figure(v) : Ticks.label[state.axis](v) }], bands = [];
    data.runs.forEach((run, at) => {
      const curve = run.curves[metric];
      if (!curve || !curve.x.length || state.hidden.has(at)) return;
      const mean = positive(smoothed(curve.mean)), line = colour(at);
      const columns = [mean];
      const ranged = state.band && curve.low.some((low, i) => low !== curve.high[i]);
      if (ranged) columns.push(positive(curve.high), positive(curve.low));
      else if (state.smooth) columns.push(positive(curve.mean));
      tables.push(rising(place(run, curve.x), columns));
      series.push({ label: run.name, stroke: line, dash: dashes(at), width: 1.5, spanGaps: true, points: { show: curve.x.length < 40 },
        value: (_, v) => figure(v) });
      const faint = { stroke: `${line}40`, width: .6, spanGaps: true, points: { show: false } };
      for (const edge of columns.slice(1)) {
        series.push({ ...faint, label: `${run.name} ${words.range}`, value: (_, v) => figure(v) });
      }
      if (ranged) bands.push({ series: [series.length - 2, series.length - 1], fill: `${line}1f` });
    });
    if (!tables.length) return null;
    const grid = { stroke: style("--line"), width: 1 };
    const axis = { stroke: style("--faint"), grid, ticks: grid, font: "11px system-ui, sans-serif" };
    const across = (width) => Math.round(width / 7), down = (height) => Math.round(height / 16);
    // As on an axis of so many characters; the labels of the last ticks are kept for uPlot's second question.
    const having = (find) => {
      let labels = new Map();
      return {
        splits: (plot, _, low, high) => {
          labels = new Map(find(plot, low, high));
          return [...labels.keys()];
        },
        values: (_, places) => places.map((place) => labels.get(place) ?? ""),
      };
    };
    const plot = new uPlot({
      width: box.clientWidth || 560, height: box.classList.contains("tall") ? 460 : 260, series, bands,
      cursor: { sync: { key: "report" }, drag: { x: true, y: false } },
      legend: { live: true }, scales: { x: { time: false }, y: { distr: state.log ? 3 : 1 } },
      axes: [
        { ...axis, ...having((plot, low, high) => Ticks.xTicks(low, high, across(plot.width - 62), state.axis)) },
        { ...axis, size: 62, ...having((plot, low, high) => Ticks.yTicks(low, high, down(plot.height), 8, state.log)) },
      ],
    }, tables.length > 1 ? uPlot.join(tables) : tables[0], box);
    // The edges of a range need no line of their own in the legend.
    plot.root.querySelectorAll(".u-series").forEach((row, i) => {
      if (i && series[i].label.endsWith(words.range)) row.style.display = "none";
    });
    return plot;
  }

  function redraw() {
    for (const plot of plots.splice(0)) plot.destroy();
    for (const box of document.querySelectorAll(".plot")) {
      const plot = draw(box, data.metrics[+box.dataset.metric]);
      if (plot) plots.push(plot);
      box.closest(".chart").hidden = !plot;
    }
  }

  const on = (id, event, act) => {
    const element = document.getElementById(id);
    if (element) element.addEventListener(event, () => { act(element); redraw(); });
  };
  on("axis", "change", (it) => { state.axis = it.value; });
  on("log", "change", (it) => { state.log = it.checked; });
  on("band", "change", (it) => { state.band = it.checked; });
  on("smooth", "input", (it) => {
    state.smooth = +it.value;
    document.getElementById("smooth-value").textContent = (+it.value).toFixed(2);
  });
  on("theme", "click", () => choose(root.dataset.theme === "dark" ? "light" : "dark"));
  for (const box of document.querySelectorAll("input[data-show]")) {
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](+box.dataset.show);
      redraw();
    });
  }
  for (const button of document.querySelectorAll(".chart button")) {
    button.addEventListener("click", () => {
      const chart = button.closest(".chart");
      chart.classList.toggle("wide");
      chart.querySelector(".plot").classList.toggle("tall");
      redraw();
    });
  }
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 150); });
  addEventListener("beforeprint", () => { for (const it of document.querySelectorAll("details")) it.open = true; });
  choose(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  redraw();
  root.dataset.drawn = String(plots.length);
})();
