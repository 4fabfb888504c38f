"use strict";
// The kinds of charts, each as options of ECharts: `charts(page)[kind](spec, state, width)`.
function charts(page) {
  // Each name of the page has one place in all of its charts, and with it one colour and one marker; a dash says
  // something else (training or validation). The colours are those of Okabe and Ito (Color Universal Design, 2008)
  // without yellow and black, darker on a light ground and lighter on a dark one: page.css. With 6 colours and 7
  // markers, 42 names have a pair of their own.
  const COLOURS = 6;
  const MARKERS = ["circle", "rect", "triangle", "diamond", "path://M4 0h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "path://M0 0h12l-6 11z",
    "path://M2 0l4 4 4 -4 2 2 -4 4 4 4 -2 2 -4 -4 -4 4 -2 -2 4 -4 -4 -4z"];
  const marks = new Map(Object.entries(page.marks));

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const identity = one => one.of || one.name;
  const place = one => marks.get(identity(one)) ?? 0;
  const colour = one => (one.grey ? css("--soft") : css("--c" + (place(one) % COLOURS)));
  const marker = one => MARKERS[place(one) % MARKERS.length];
  const dash = one => one.dash || "solid";
  const digits = x => (x === null || x === undefined || x === "-" || Number.isNaN(x) ? "–" : typeof x !== "number" ? String(x)
    : x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(2) : String(Number(x.toPrecision(4))));
  const fixed = (x, places) => x.toFixed(places).replace(/^-(0\.0*)$/, "$1");
  const percent = x => (x === null || x === undefined ? "–" : (100 * x).toFixed(x < 0.1 ? 1 : 0) + " %");
  // The chart library shows names as text where it draws, and as HTML in its tooltips.
  const safe = text => String(text).replace(/[&<>"']/g, c => "&#" + c.charCodeAt(0) + ";");
  const short = (text, length) => (String(text).length > length ? String(text).slice(0, length - 1) + "…" : String(text));

  const axis = extra => ({
    axisLabel: { color: css("--soft"), hideOverlap: true }, nameTextStyle: { color: css("--soft") },
    axisLine: { lineStyle: { color: css("--line") } }, axisTick: { lineStyle: { color: css("--line") } },
    splitLine: { lineStyle: { color: css("--line"), opacity: 0.6 } }, ...extra,
  });
  const tip = extra => ({
    confine: true, backgroundColor: css("--card"), borderColor: css("--line"), textStyle: { color: css("--ink"), fontSize: 12 }, ...extra,
  });
  // A line in the legend has the dash and the marker that it has in the chart; a point has its marker.
  const STROKE = "path://M0 0h6v2h-6zM9 0h6v2h-6z";
  const legend = (series, width, points) => ({
    type: series.length > 12 ? "scroll" : "plain", bottom: 0, itemWidth: points ? 14 : 30, itemHeight: points ? 11 : 10, itemGap: 12,
    textStyle: { color: css("--ink") }, pageTextStyle: { color: css("--soft") }, pageIconColor: css("--accent"), inactiveColor: css("--line"),
    formatter: name => short(name, 28), width: width - 20, symbolKeepAspect: true,
    data: series.map(s => (points && s.type === "line" ? { name: s.name, icon: STROKE } : { name: s.name })),
  });
  const legendRows = (series, width) => (series.length > 12 ? 30 : 22 * Math.ceil(series.reduce((sum, s) => sum + 8 * Math.min(28, s.name.length) + 54, 0) / (width - 20)));
  const frame = (bottom, extra) => ({
    animation: false, backgroundColor: "transparent", aria: { enabled: true },
    grid: { left: 8, right: 18, top: 14, bottom, containLabel: true }, ...extra,
  });

  // The ends and the ticks of an axis for `values`: a little wider than they are, and never so narrow that rounding
  // errors look like curves. A logarithmic axis need not end at powers of ten.
  function fitted(values, log, extra = {}) {
    const known = values.filter(x => typeof x === "number" && (!log || x > 0));
    if (!known.length) return { ...extra };
    let low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
    const label = extra.axisLabel;
    if (!log) {
      const least = 0.02 * Math.max(Math.abs(low), Math.abs(high));
      if (high - low >= least) return { scale: true, ...extra };
      const middle = (low + high) / 2;
      return { min: middle - 2.5 * least, max: middle + 2.5 * least, scale: true, ...extra, axisLabel: { ...label, showMinLabel: false, showMaxLabel: false } };
    }
    const room = Math.max(1.05, (high / low) ** 0.04);
    low /= room; high *= room;
    if (high / low < 1.5) { const more = Math.sqrt(1.5 / (high / low)); low /= more; high *= more; }
    const ticks = logTicks(low, high);
    return { min: low, max: high, ...extra, axisLabel: { ...label, customValues: ticks }, axisTick: { ...extra.axisTick, customValues: ticks }, splitLine: { ...extra.splitLine, customValues: ticks } };
  }

  // 1, 2 and 5 times powers of ten; powers alone over more than three decades; more between close ends.
  function logTicks(low, high) {
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high)), decades = Math.log10(high / low);
    const every = Math.ceil(decades / 6);
    const steps = decades > 3 ? [1] : decades > 0.7 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
    const found = [];
    for (let e = first; e <= last; e++) if (decades <= 3 || e % every === 0) for (const s of steps) found.push(Number((s * 10 ** e).toPrecision(3)));
    return found.filter(x => x >= low && x <= high);
  }

  // The mean over a window around each point: an average of the past alone would lag behind what falls fast.
  function smoothed(values) {
    const reach = values.length < 20 ? 0 : Math.max(2, Math.round(values.length / 50));
    return values.map((x, i) => {
      if (x === null) return null;
      let sum = 0, count = 0;
      for (let j = Math.max(0, i - reach); j <= Math.min(values.length - 1, i + reach); j++) if (values[j] !== null) { sum += values[j]; count++; }
      return sum / count;
    });
  }

  // The ends of where most of `values` lie, where a few (a trial that diverged) lie so far out that one would see only
  // these; else the ends of all.
  function core(values) {
    const sorted = values.filter(x => typeof x === "number").sort((a, b) => a - b), n = sorted.length;
    const ends = [sorted[0], sorted[n - 1]], [a, b] = [sorted[Math.floor(0.1 * n)], sorted[Math.ceil(0.9 * n) - 1]];
    const near = [Math.max(ends[0], a - 2 * (b - a)), Math.min(ends[1], b + 2 * (b - a))];
    return n >= 10 && b > a && ends[1] - ends[0] > 1.5 * (near[1] - near[0]) ? near : ends;
  }
  function rounded(values) {
    const low = Math.min(...values), high = Math.max(...values);
    const step = 10 ** Math.floor(Math.log10((high - low || Math.abs(high) || 1) / 2));
    return { min: Math.floor(low / step) * step, max: Math.ceil(high / step) * step };
  }
  const within = (x, [low, high]) => x >= low && x <= high;
  function near(points) {
    const [x, y] = ["x", "y"].map(key => core(points.map(p => p[key])));
    return points.filter(p => within(p.x, x) && within(p.y, y));
  }
  function outside(spec) {
    const points = spec.groups.flatMap(g => g.points);
    return points.length - near(points).length;
  }

  const shown = (spec, state) => (spec.top && !state.all ? spec.series.filter(s => spec.top.includes(identity(s))) : spec.series);

  // A few markers on a long line, at other places than those of the other lines.
  function sparse(values, number, of) {
    const found = [], wanted = Math.min(6, values.length);
    for (let k = 0; k < wanted; k++) {
      let i = Math.floor(((k + (number + 0.5) / of) * values.length) / wanted);
      while (i < values.length && values[i] === null) i++;
      if (i < values.length) found.push(i);
    }
    return found;
  }

  function lines(spec, state, width) {
    const chosen = shown(spec, state), few = spec.markers || spec.x.length < 3;
    const drop = y => (state.log && y !== null && y <= 0 ? null : y);
    const one = (s, values, extra) => ({
      name: s.name, type: "line", showSymbol: few || s.y.filter(y => y !== null).length < 3, symbol: marker(s), symbolSize: 7, connectNulls: true, sampling: "lttb",
      data: spec.x.map((x, i) => [x, drop(values[i])]), color: colour(s), z: 3, lineStyle: { width: 2, type: dash(s) }, emphasis: { focus: "series" }, ...extra,
    });
    const silent = { silent: true, tooltip: { show: false }, emphasis: { disabled: true } };
    const series = [];
    chosen.forEach((s, number) => {
      const values = state.smooth ? smoothed(s.y) : s.y, main = one(s, values);
      series.push(main);
      if (state.smooth) series.push(one(s, s.y, { ...silent, z: 2, showSymbol: false, lineStyle: { width: 1, opacity: 0.22 } }));
      if (!main.showSymbol && !spec.plain)
        series.push({ name: s.name, type: "scatter", symbol: marker(s), symbolSize: 8, color: colour(s), z: 4, ...silent,
          data: sparse(values, number, chosen.length).map(i => [spec.x[i], drop(values[i])]) });
    });
    const format = spec.percent ? percent : digits;
    const ends = spec.max === undefined ? fitted(chosen.flatMap(s => s.y), state.log, { axisLabel: { color: css("--soft"), formatter: format } })
      : { min: spec.min, max: spec.max, axisLabel: { color: css("--soft"), formatter: format } };
    return frame(legendRows(chosen, width) + 22, {
      xAxis: axis({ type: "value", name: spec.xname || "step", nameLocation: "middle", nameGap: 24, min: "dataMin", max: "dataMax", splitLine: { show: false } }),
      yAxis: mergedAxis({ type: state.log ? "log" : "value", ...ends }),
      legend: legend(chosen, width), series,
      tooltip: tip({ trigger: "axis", order: "valueDesc", formatter: points => {
        const seen = new Map();
        for (const p of points) if (p.seriesType === "line" && !seen.has(p.seriesName)) seen.set(p.seriesName, p);
        const rows = [...seen.values()].filter(p => p.data[1] !== null).sort((a, b) => b.data[1] - a.data[1]).slice(0, 16);
        return safe((spec.xname || "step") + " " + digits(points[0].data[0])) + rows.map(p =>
          `<br>${p.marker}${safe(short(p.seriesName, 40))} <b>${safe(format(p.data[1]))}</b>`).join("");
      } }),
    });
  }

  function mergedAxis(ends) {
    const base = axis({});
    return { ...base, ...ends, splitLine: { ...base.splitLine, ...ends.splitLine }, axisTick: { ...base.axisTick, ...ends.axisTick } };
  }

  function area(spec, state, width) {
    // The shares of losses that are folded away are one grey area, so that all together are still the whole.
    const chosen = shown(spec, state), rest = spec.series.filter(s => !chosen.includes(s));
    const others = { name: rest.length + " others", grey: true, y: spec.x.map((x, i) => rest.reduce((sum, s) => sum + s.y[i], 0)) };
    const whole = { ...spec, series: rest.length ? [...chosen, others] : chosen, top: null, percent: true, plain: true, min: 0, max: 1 };
    const option = lines(whole, {}, width);
    for (const s of option.series) Object.assign(s, { stack: "all", sampling: undefined, connectNulls: false, areaStyle: { opacity: 0.75 }, lineStyle: { width: 1, type: s.lineStyle.type } });
    return option;
  }

  function heat(spec, state, width) {
    const of = spec.top && !state.all ? spec.names.map((name, i) => i).filter(i => spec.top.includes(spec.names[i])) : spec.names.map((name, i) => i);
    const points = [], n = of.length, labels = n <= (width < 500 ? 6 : 12);
    of.forEach((row, i) => of.forEach((column, j) => { if (spec.values[row][column] !== null) points.push([j, i, spec.values[row][column]]); }));
    const names = of.map(i => short(spec.names[i], width < 500 ? 10 : 18));
    const category = extra => axis({ type: "category", data: names, splitLine: { show: false }, ...extra });
    const interval = Math.ceil((n * 15) / width) - 1;
    return frame(44, {
      xAxis: category({ axisLabel: { color: css("--soft"), rotate: n > 4 ? 40 : 0, interval } }), yAxis: category({ inverse: true, axisLabel: { color: css("--soft"), interval: n > 24 ? 1 : 0 } }),
      visualMap: { min: -1, max: 1, calculable: false, orient: "horizontal", left: "center", bottom: 0, itemHeight: 120, itemWidth: 10, precision: 1,
        text: ["agree", "oppose"], textStyle: { color: css("--soft") }, inRange: { color: [css("--oppose"), css("--neither"), css("--agree")] } },
      series: [{ type: "heatmap", data: points, itemStyle: { borderColor: css("--card"), borderWidth: n > 24 ? 0 : 2 },
        label: { show: labels, color: css("--ink"), formatter: p => fixed(p.data[2], 2) } }],
      tooltip: tip({ formatter: p => {
        const [a, b] = [of[p.data[1]], of[p.data[0]]], extra = spec.notes && spec.notes[a][b];
        return safe(spec.names[a] + " × " + spec.names[b]) + `<br>cosine <b>${fixed(p.data[2], 3)}</b>` + (extra ? "<br>" + safe(extra) : "");
      } }),
    });
  }

  function intervals(spec, state, width) {
    const rows = spec.rows;
    const dots = rows.flatMap((r, i) => (r.points || []).map(x => [x, i]));
    const line = (r, i) => ({ name: r.name, type: "line", data: [[r.low, i], [r.high, i]], showSymbol: false, symbol: marker(r), color: colour(r), lineStyle: { width: 4, opacity: 0.5 }, silent: true });
    const mean = (r, i) => ({ name: r.name, type: "scatter", data: [[r.mean, i]], symbol: marker(r), symbolSize: 12, color: colour(r), itemStyle: { borderColor: css("--card"), borderWidth: 1 }, z: 4 });
    const values = rows.flatMap(r => [r.mean, r.low, r.high, ...(r.points || [])]).concat(spec.zero === undefined ? [] : [spec.zero]);
    return frame(28, {
      xAxis: axis({ type: "value", name: spec.axis, nameLocation: "middle", nameGap: 26, ...fitted(values, false, { axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } }) }),
      yAxis: axis({ type: "category", data: rows.map(r => r.name), inverse: true, splitLine: { show: true, lineStyle: { color: css("--line"), opacity: 0.4 } },
        axisLabel: { color: css("--ink"), interval: 0, formatter: name => short(name, width < 500 ? 16 : 44) } }),
      series: [
        { type: "scatter", data: dots, symbolSize: 6, itemStyle: { color: css("--soft"), opacity: 0.55 }, silent: true,
          markLine: spec.zero === undefined ? undefined : { silent: true, symbol: "none", label: { show: false }, lineStyle: { color: css("--soft"), type: "dashed" }, data: [{ xAxis: spec.zero }] } },
        ...rows.flatMap((r, i) => [...(r.low !== null && r.high !== null ? [line(r, i)] : []), mean(r, i)]),
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
    // Colour and marker say what a point is; that it is beaten or the best, its paleness and its ring.
    const point = p => ({ value: [p.x, p.y], name: p.name, symbolSize: p.ring ? 17 : 10,
      itemStyle: { opacity: p.faded ? 0.3 : 0.9, borderColor: p.ring ? css("--ink") : css("--card"), borderWidth: p.ring ? 2 : 1 } });
    const series = spec.groups.map(g => ({ name: g.name, type: "scatter", symbol: marker(g), color: colour(g), z: 3, data: g.points.map(point) }));
    const line = spec.line && { name: spec.line.name, type: "line", data: spec.line.points, symbol: "none", step: spec.line.step, color: css("--soft"), lineStyle: { type: "dashed", width: 1.5 }, z: 2, tooltip: { show: false } };
    if (line) series.push(line);
    const points = spec.groups.flatMap(g => g.points), on = spec.line ? spec.line.points : [];
    const label = { axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } };
    const most = near(points), all = state.whole || most.length === points.length;
    const ends = (key, i) => (all ? fitted([...points.map(p => p[key]), ...on.map(p => p[i])], false, label)
      : { ...rounded(most.map(p => p[key])), ...label });
    const option = frame(legendRows(series, width) + 24, {
      xAxis: axis({ type: "value", name: spec.xname, nameLocation: "middle", nameGap: 26, ...ends("x", 0) }),
      yAxis: axis({ type: "value", name: spec.yname, nameLocation: "end", nameGap: 10, nameTextStyle: { color: css("--soft"), align: "left" }, ...ends("y", 1) }),
      legend: legend(series, width, true), series,
      tooltip: tip({ formatter: p => `${safe(p.name)}<br>${safe(spec.xname)} <b>${safe(digits(p.value[0]))}</b><br>${safe(spec.yname)} <b>${safe(digits(p.value[1]))}</b>` }),
    });
    option.grid.top = 34;
    return option;
  }

  function dots(spec, state, width) {
    const drop = x => (x === null || (state.log && x <= 0) ? "-" : x), chosen = shown(spec, state);
    const series = chosen.map(s => ({ name: s.name, type: "scatter", symbolSize: 12, symbol: marker(s), color: colour(s), itemStyle: { borderColor: css("--card"), borderWidth: 1 },
      data: s.values.map((x, i) => [drop(x), i]) }));
    const values = chosen.flatMap(s => s.values).concat([1]);
    return frame(legendRows(series, width) + 26, {
      xAxis: mergedAxis({ type: state.log ? "log" : "value", name: spec.axis, nameLocation: "middle", nameGap: 26, ...fitted(values, state.log, { axisLabel: { color: css("--soft"), formatter: digits, hideOverlap: true } }) }),
      yAxis: axis({ type: "category", data: spec.rows, inverse: true, splitLine: { show: true, lineStyle: { color: css("--line"), opacity: 0.5 } },
        axisLabel: { color: css("--ink"), interval: 0, formatter: name => short(name, width < 500 ? 16 : 44) } }),
      legend: legend(series, width, true), series,
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
      ...(a.ends ? fitted(a.ends, a.log, { axisLabel: { color: css("--soft"), formatter: digits }, axisTick: { show: false } }) : {}),
    }));
    return {
      animation: false, backgroundColor: "transparent", aria: { enabled: true },
      parallel: { left: width < 500 ? 52 : 60, right: width < 500 ? 44 : 70, top: 24, bottom: 84, axisExpandable: spec.axes.length > 12, parallelAxisDefault: {} }, parallelAxis: axes,
      visualMap: { show: true, dimension: spec.axes.length - 1, min: low, max: high > low ? high : low + 1, orient: "horizontal", left: "center", bottom: 0, itemHeight: 140, itemWidth: 10,
        text: [spec.goal + " " + digits(high), digits(low)], textStyle: { color: css("--soft") }, inRange: { color: css("--ramp").split(" ") } },
      series: [{ type: "parallel", lineStyle: { width: 2, opacity: 0.6 }, emphasis: { lineStyle: { width: 4, opacity: 1 } }, smooth: 0.15,
        data: spec.rows.map(r => ({ name: r.name, value: r.values.map(x => (x === null ? "-" : x)) })) }],
      tooltip: tip({ formatter: p => safe(p.name) }),
    };
  }

  return { lines, area, heat, intervals, bars, scatter, dots, parallel, outside };
}
