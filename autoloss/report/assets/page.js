"use strict";
(() => {
  // Okabe and Ito's colours (Color Universal Design, 2008) without yellow and black, which vanish on one ground or
  // the other; the seventh loss begins them again with another dash.
  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"];
  const DASHES = ["solid", "dashed", "dotted", [8, 3, 2, 3]];
  const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let page, names, others = new Map();

  // A loss has its place everywhere; what is none (a metric, a pair) takes the next free ones of its chart.
  const place = name => names.get(name) ?? others.get(name) ?? (others.set(name, others.size + names.size % COLOURS.length), others.get(name));
  const colour = name => COLOURS[place(name) % COLOURS.length];
  const dash = name => (names.has(name) ? DASHES[Math.floor(place(name) / COLOURS.length) % DASHES.length] : "solid");
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = x => (x === null || x === undefined || x === "-" || Number.isNaN(x) ? "–" : typeof x !== "number" ? String(x)
    : x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(4))));
  const percent = x => (x === null || x === undefined ? "–" : (100 * x).toFixed(x < 0.1 ? 1 : 0) + " %");
  // The chart library shows names as text where it draws, and as HTML in its tooltips.
  const safe = text => String(text).replace(/[&<>"']/g, c => "&#" + c.charCodeAt(0) + ";");
  const short = (text, length) => (String(text).length > length ? String(text).slice(0, length - 1) + "…" : String(text));

  async function unpack(id) {
    const text = atob(document.getElementById(id).textContent.trim()), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const axis = extra => ({
    axisLabel: { color: css("--soft"), hideOverlap: true }, nameTextStyle: { color: css("--soft") },
    axisLine: { lineStyle: { color: css("--line") } }, axisTick: { lineStyle: { color: css("--line") } },
    splitLine: { lineStyle: { color: css("--line"), opacity: 0.6 } }, ...extra,
  });
  const tip = extra => ({
    confine: true, backgroundColor: css("--card"), borderColor: css("--line"), textStyle: { color: css("--ink"), fontSize: 12 }, ...extra,
  });
  const stroke = "path://M0 0h18v3h-18z";
  const legend = series => ({
    type: series.length > 8 ? "scroll" : "plain", bottom: 0, icon: stroke, symbolKeepAspect: true, itemWidth: 18, itemHeight: 12,
    textStyle: { color: css("--ink") }, pageTextStyle: { color: css("--soft") }, pageIconColor: css("--accent"),
    formatter: name => short(name, 28), data: series.map(s => (s.type === "scatter" ? { name: s.name, icon: s.symbol } : { name: s.name, icon: stroke })),
  });
  const frame = (bottom, extra) => ({
    animation: false, backgroundColor: "transparent", aria: { enabled: true },
    grid: { left: 8, right: 18, top: 14, bottom, containLabel: true }, ...extra,
  });

  // The mean over a window around each point: an average of the past alone would lag behind what falls fast.
  function smoothed(values) {
    const reach = Math.max(2, Math.round(values.length / 50));
    return values.map((x, i) => {
      if (x === null) return null;
      let sum = 0, count = 0;
      for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j++) if (values[j] !== null) { sum += values[j]; count++; }
      return sum / count;
    });
  }

  function lines(spec, state, width) {
    const rows = spec.series.length > 8 ? 30 : 22 * Math.ceil(spec.series.reduce((sum, s) => sum + 9 * Math.min(28, s.name.length) + 44, 0) / width);
    const drop = y => (state.log && y !== null && y <= 0 ? null : y);
    const one = (s, values, extra) => ({
      name: s.name, type: "line", showSymbol: spec.markers || s.y.filter(y => y !== null).length < 3, symbolSize: 5, connectNulls: true, sampling: "lttb",
      data: spec.x.map((x, i) => [x, drop(values[i])]), color: colour(s.colour || s.name),
      lineStyle: { width: 2, type: s.dash || dash(s.colour || s.name) }, emphasis: { focus: "series" }, ...extra,
    });
    const series = [];
    for (const s of spec.series) {
      if (state.smooth) {
        series.push(one(s, s.y, { lineStyle: { width: 1, opacity: 0.22 }, silent: true, tooltip: { show: false }, emphasis: { disabled: true } }));
        series.push(one(s, smoothed(s.y)));
      } else series.push(one(s, s.y));
    }
    const format = spec.percent ? percent : digits;
    return frame(rows + 22, {
      xAxis: axis({ type: "value", name: spec.xname || "step", nameLocation: "middle", nameGap: 24, min: "dataMin", max: "dataMax", splitLine: { show: false } }),
      yAxis: axis({ type: state.log ? "log" : "value", scale: !spec.zero, max: spec.max, min: spec.min, axisLabel: { color: css("--soft"), formatter: format } }),
      legend: legend(spec.series), series,
      tooltip: tip({ trigger: "axis", order: "valueDesc", formatter: points => {
        const seen = new Map();
        for (const p of points) seen.set(p.seriesName, p);
        const rows = [...seen.values()].filter(p => p.data[1] !== null).sort((a, b) => b.data[1] - a.data[1]).slice(0, 16);
        return safe((spec.xname || "step") + " " + digits(points[0].data[0])) + rows.map(p =>
          `<br>${p.marker}${safe(short(p.seriesName, 40))} <b>${safe(format(p.data[1]))}</b>`).join("");
      } }),
    });
  }

  function area(spec, state, width) {
    const option = lines({ ...spec, percent: true, min: 0, max: 1 }, {}, width);
    for (const s of option.series) Object.assign(s, { stack: "all", sampling: undefined, connectNulls: false, areaStyle: { opacity: 0.75 }, lineStyle: { width: 1, type: s.lineStyle.type } });
    return option;
  }

  function heat(spec, state, width) {
    const points = [], n = spec.names.length, labels = n <= (width < 500 ? 6 : 12);
    spec.values.forEach((row, i) => row.forEach((x, j) => { if (x !== null) points.push([j, i, x]); }));
    const names = spec.names.map(name => short(name, width < 500 ? 10 : 18));
    const category = extra => axis({ type: "category", data: names, splitLine: { show: false }, ...extra });
    return frame(44, {
      xAxis: category({ axisLabel: { color: css("--soft"), rotate: n > 4 ? 40 : 0, interval: 0 } }), yAxis: category({ inverse: true, axisLabel: { color: css("--soft"), interval: 0 } }),
      visualMap: { min: -1, max: 1, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 120, itemWidth: 10, precision: 1,
        text: ["agree", "oppose"], textStyle: { color: css("--soft") }, inRange: { color: ["#D55E00", dark.matches ? "#33383f" : "#f4f4f4", "#0072B2"] } },
      series: [{ type: "heatmap", data: points, itemStyle: { borderColor: css("--card"), borderWidth: 2 },
        label: { show: labels, color: css("--ink"), formatter: p => p.data[2].toFixed(2) } }],
      tooltip: tip({ formatter: p => {
        const extra = spec.notes && spec.notes[p.data[1]][p.data[0]];
        return safe(spec.names[p.data[1]] + " × " + spec.names[p.data[0]]) + `<br>cosine <b>${p.data[2].toFixed(3)}</b>` + (extra ? "<br>" + safe(extra) : "");
      } }),
    });
  }

  function intervals(spec, state, width) {
    const rows = spec.rows, segments = [];
    rows.forEach((r, i) => { if (r.low !== null && r.high !== null) segments.push([r.low, i], [r.high, i], ["-", "-"]); });
    const dots = rows.flatMap((r, i) => (r.points || []).map(x => [x, i]));
    return frame(28, {
      xAxis: axis({ type: "value", name: spec.axis, nameLocation: "middle", nameGap: 26, scale: true, axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } }),
      yAxis: axis({ type: "category", data: rows.map(r => r.name), inverse: true, splitLine: { show: true, lineStyle: { color: css("--line"), opacity: 0.4 } },
        axisLabel: { color: css("--ink"), interval: 0, formatter: name => short(name, width < 500 ? 16 : 44) } }),
      series: [
        { type: "line", data: segments, showSymbol: false, lineStyle: { width: 3, color: css("--accent"), opacity: 0.55 }, connectNulls: false, silent: true },
        { type: "scatter", data: dots, symbolSize: 6, itemStyle: { color: css("--soft"), opacity: 0.55 }, silent: true },
        { type: "scatter", data: rows.map((r, i) => [r.mean, i]), symbolSize: 11, itemStyle: { color: css("--accent"), borderColor: css("--card"), borderWidth: 1 },
          markLine: spec.zero === undefined ? undefined : { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: css("--soft"), type: "dashed" }, data: [{ xAxis: spec.zero }] } },
      ],
      tooltip: tip({ formatter: p => {
        const r = rows[p.data[1]];
        return `${safe(r.name)}<br><b>${safe(digits(r.mean))}</b>` + (r.low === null ? "" : ` (${safe(digits(r.low))} to ${safe(digits(r.high))})`) + (r.note ? "<br>" + safe(r.note) : "");
      } }),
    });
  }

  function bars(spec, state, width) {
    return frame(28, {
      grid: { left: 8, right: 60, top: 14, bottom: 28, containLabel: true },
      xAxis: axis({ type: "value", name: spec.axis, nameLocation: "middle", nameGap: 26 }),
      yAxis: axis({ type: "category", inverse: true, data: spec.rows.map(r => r.name), splitLine: { show: false }, axisLabel: { color: css("--ink"), interval: 0, formatter: name => short(name, width < 500 ? 16 : 40) } }),
      series: [{ type: "bar", barMaxWidth: 22, data: spec.rows.map(r => r.value), itemStyle: { color: css("--accent"), borderRadius: [0, 4, 4, 0] },
        label: { show: true, position: "right", color: css("--soft"), formatter: p => digits(p.value) } }],
      tooltip: tip({ formatter: p => `${safe(p.name)}<br><b>${safe(digits(p.value))}</b>` }),
    });
  }

  function scatter(spec, state, width) {
    const series = spec.groups.map((g, i) => ({
      name: g.name, type: "scatter", symbolSize: g.large ? 16 : 10, symbol: g.symbol || ["circle", "rect", "triangle", "diamond"][i % 4], color: g.large ? "#D55E00" : g.grey ? css("--soft") : g.accent ? css("--accent") : colour(g.colour || g.name),
      itemStyle: { opacity: 0.85, borderColor: css("--card"), borderWidth: 1 }, data: g.points.map(p => ({ value: [p.x, p.y], name: p.name })),
    }));
    if (spec.line) series.push({ name: spec.line.name, type: "line", data: spec.line.points, showSymbol: false, step: spec.line.step, color: css("--soft"), lineStyle: { type: "dashed", width: 1.5 }, tooltip: { show: false } });
    const rows = 22 * Math.ceil(series.reduce((sum, s) => sum + 9 * Math.min(28, s.name.length) + 44, 0) / width);
    const option = frame((series.length > 8 ? 30 : rows) + 24, {
      xAxis: axis({ type: spec.log ? "log" : "value", name: spec.xname, nameLocation: "middle", nameGap: 26, scale: true, axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } }),
      yAxis: axis({ type: spec.log ? "log" : "value", name: spec.yname, nameLocation: "end", nameGap: 10, nameTextStyle: { color: css("--soft"), align: "left" }, scale: true, axisLabel: { color: css("--soft"), formatter: digits } }),
      legend: { ...legend(series), itemWidth: 14 }, series,
      tooltip: tip({ formatter: p => `${safe(p.name)}<br>${safe(spec.xname)} <b>${safe(digits(p.value[0]))}</b><br>${safe(spec.yname)} <b>${safe(digits(p.value[1]))}</b>` }),
    });
    option.grid.top = 34;
    return option;
  }

  function dots(spec, state, width) {
    const drop = x => (x === null || (state.log && x <= 0) ? "-" : x);
    const series = spec.series.map(s => ({ name: s.name, type: "scatter", symbolSize: 12, color: colour(s.name), itemStyle: { borderColor: css("--card"), borderWidth: 1 },
      symbol: ["circle", "rect", "triangle", "diamond"][Math.floor(place(s.name) / COLOURS.length) % 4], data: s.values.map((x, i) => [drop(x), i]) }));
    return frame((series.length > 8 ? 30 : 24) + 26, {
      xAxis: axis({ type: state.log ? "log" : "value", name: spec.axis, nameLocation: "middle", nameGap: 26, axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } }),
      yAxis: axis({ type: "category", data: spec.rows, inverse: true, splitLine: { show: true, lineStyle: { color: css("--line"), opacity: 0.5 } },
        axisLabel: { color: css("--ink"), interval: 0, formatter: name => short(name, width < 500 ? 16 : 44) } }),
      legend: { ...legend(series), itemWidth: 14 }, series,
      tooltip: tip({ formatter: p => `${safe(spec.rows[p.data[1]])}<br>${safe(p.seriesName)} <b>${safe(digits(p.data[0]))}</b>` }),
    });
  }

  function parallel(spec, state, width) {
    const goals = spec.rows.map(r => r.values[r.values.length - 1]).filter(x => typeof x === "number");
    const low = Math.min(...goals), high = Math.max(...goals);
    const axes = spec.axes.map((a, i) => ({
      dim: i, name: short(a.name, width < 500 ? 9 : 22), nameLocation: "start", nameGap: 14, nameRotate: width < 700 && spec.axes.length > 3 ? 30 : 0,
      type: a.options ? "category" : a.log ? "log" : "value", data: a.options, scale: true,
      nameTextStyle: { color: css("--ink"), fontSize: 12 }, axisLabel: { color: css("--soft"), formatter: x => short(a.options ? x : digits(x), 14) },
      axisLine: { lineStyle: { color: css("--soft") } }, axisTick: { show: false }, splitLine: { show: false },
      areaSelectStyle: { color: css("--accent"), opacity: 0.25 },
    }));
    return {
      animation: false, backgroundColor: "transparent", aria: { enabled: true },
      parallel: { left: width < 500 ? 52 : 60, right: width < 500 ? 44 : 70, top: 24, bottom: 84, axisExpandable: spec.axes.length > 12, parallelAxisDefault: {} }, parallelAxis: axes,
      visualMap: { show: true, dimension: spec.axes.length - 1, min: low, max: high > low ? high : low + 1, orient: "horizontal", left: "center", bottom: 0, itemHeight: 140, itemWidth: 10,
        text: [spec.goal + " " + digits(high), digits(low)], textStyle: { color: css("--soft") }, inRange: { color: RAMP } },
      series: [{ type: "parallel", lineStyle: { width: 2, opacity: 0.6 }, emphasis: { lineStyle: { width: 4, opacity: 1 } }, smooth: 0.15,
        data: spec.rows.map(r => ({ name: r.name, value: r.values.map(x => (x === null ? "-" : x)) })) }],
      tooltip: tip({ formatter: p => safe(p.name) }),
    };
  }

  const KINDS = { lines, area, heat, intervals, bars, scatter, dots, parallel };
  const drawn = [];

  function prepare(section) {
    const spec = page.charts[section.dataset.chart], plot = section.querySelector(".plot");
    if (["intervals", "bars", "dots"].includes(spec.kind)) plot.style.height = Math.max(170, (spec.kind === "dots" ? 100 : 70) + 30 * spec.rows.length) + "px";
    const state = { log: Boolean(spec.log), smooth: Boolean(spec.smooth) };
    const tools = section.querySelector(".tools");
    const chart = { spec, state, plot, made: null, draw() {
      if (!this.made) this.made = echarts.init(plot, null, { renderer: "canvas" });
      others = new Map();
      this.made.setOption(KINDS[spec.kind](spec, state, plot.clientWidth), true);
      section.dataset.drawn = "1";
    } };
    const toggle = (key, text) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = text; button.setAttribute("aria-pressed", String(state[key]));
      button.onclick = () => { state[key] = !state[key]; button.setAttribute("aria-pressed", String(state[key])); chart.draw(); };
      tools.append(button);
    };
    if (spec.smooth !== undefined) toggle("smooth", "smooth");
    if (["lines", "dots"].includes(spec.kind) && spec.log !== null && spec.log !== undefined) toggle("log", "log scale");
    drawn.push(chart);
    return chart;
  }

  function sortable(table) {
    const heads = [...table.querySelectorAll("th")], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector("button").onclick = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = row => {
        const cell = row.cells[column], text = cell.dataset.key ?? cell.textContent.replace("−", "-").trim();
        const number = Number(text);
        return text === "" || text === "-" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
      };
      const rows = [...body.rows].map(row => [value(row), row]);
      rows.sort(([a], [b]) => (a === null) - (b === null) || (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1) * (up ? 1 : -1));
      body.append(...rows.map(([, row]) => row));
    });
  }

  async function main() {
    document.querySelectorAll("table.sortable").forEach(sortable);
    page = JSON.parse(await unpack("data"));
    names = new Map(Object.entries(page.colours));
    const sections = [...document.querySelectorAll("[data-chart]")];
    if (!sections.length) return;
    const library = document.createElement("script");
    library.textContent = await unpack("library") + ";globalThis.echarts=echarts";
    document.head.append(library);
    const waiting = new Map(sections.map(section => [section, prepare(section)]));
    const watcher = new IntersectionObserver(entries => {
      for (const entry of entries) if (entry.isIntersecting) { waiting.get(entry.target).draw(); watcher.unobserve(entry.target); }
    }, { rootMargin: "300px" });
    sections.forEach(section => watcher.observe(section));
    const again = () => drawn.filter(chart => chart.made).forEach(chart => { chart.made.resize(); chart.draw(); });
    let timer;
    addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(again, 120); });
    dark.addEventListener("change", again);
    addEventListener("beforeprint", () => drawn.forEach(chart => chart.draw()));
    document.documentElement.dataset.ready = "1";
  }
  main();
})();
