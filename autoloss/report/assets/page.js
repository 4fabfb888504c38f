"use strict";
(() => {
  const ROWS = 15; // of a table, before it is folded
  const FOLDED = ["lines", "area", "heat", "dots"];
  let page, kinds;

  async function unpack(id) {
    const text = atob(document.getElementById(id).textContent.trim()), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  const drawn = [];

  function height(spec, state) {
    if (spec.kind === "heat") {
      const number = spec.top && !state.all ? spec.top.length : spec.names.length;
      return number > 12 ? 110 + 14 * number : null;
    }
    if (!["intervals", "bars", "dots"].includes(spec.kind)) return null;
    return Math.max(170, (spec.kind === "dots" ? 100 : 70) + 30 * spec.rows.length);
  }

  function prepare(section) {
    const spec = page.charts[section.dataset.chart], plot = section.querySelector(".plot");
    const state = { log: Boolean(spec.log), smooth: Boolean(spec.smooth), all: false, whole: false };
    const tools = section.querySelector(".tools");
    const chart = { spec, state, plot, made: null, draw() {
      const tall = height(spec, state);
      if (tall) plot.style.height = tall + "px";
      if (!this.made) this.made = echarts.init(plot, null, { renderer: "canvas" });
      else this.made.resize();
      this.made.setOption(kinds[spec.kind](spec, state, plot.clientWidth), true);
      section.dataset.drawn = "1";
      section.options = () => this.made.getOption();
      section.ends = () => [0, 1].map(i => this.made.getModel().getComponent(["xAxis", "yAxis"][i]).axis.scale.getExtent());
    } };
    const tall = height(spec, state);
    if (tall) plot.style.height = tall + "px";
    const toggle = (key, text) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = text; button.setAttribute("aria-pressed", String(state[key]));
      button.onclick = () => { state[key] = !state[key]; button.setAttribute("aria-pressed", String(state[key])); chart.draw(); };
      tools.append(button);
    };
    if (spec.top && FOLDED.includes(spec.kind)) toggle("all", "all " + (spec.names || [...new Set(spec.series.map(s => s.of || s.name))]).length);
    const far = spec.kind === "scatter" ? kinds.outside(spec) : 0;
    if (far) toggle("whole", `whole range, ${far} more`);
    if (spec.smooth !== undefined) toggle("smooth", "smooth");
    if (["lines", "dots"].includes(spec.kind) && spec.log !== null && spec.log !== undefined) toggle("log", "log scale");
    drawn.push(chart);
    return chart;
  }

  function foldable(table) {
    const number = table.tBodies[0].rows.length;
    if (number <= ROWS + 5) return;
    const button = document.createElement("button");
    const fold = folded => { table.classList.toggle("folded", folded); button.textContent = folded ? `all ${number} rows` : `the first ${ROWS} rows`; };
    button.type = "button"; button.className = "more";
    button.onclick = () => fold(!table.classList.contains("folded"));
    fold(true);
    table.parentElement.after(button);
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

  // Paper is light and narrow: charts are drawn anew for it, and again for the screen afterwards.
  function printable(again) {
    addEventListener("beforeprint", () => {
      document.documentElement.dataset.print = "1";
      drawn.forEach(chart => chart.draw());
    });
    addEventListener("afterprint", () => { delete document.documentElement.dataset.print; again(); });
  }

  async function main() {
    document.querySelectorAll("table.sortable").forEach(sortable);
    document.querySelectorAll("table.sortable").forEach(foldable);
    page = JSON.parse(await unpack("data"));
    const sections = [...document.querySelectorAll("[data-chart]")];
    if (!sections.length) return;
    const library = document.createElement("script");
    library.textContent = await unpack("library") + ";globalThis.echarts=echarts";
    document.head.append(library);
    kinds = charts(page);
    const waiting = new Map(sections.map(section => [section, prepare(section)]));
    const watcher = new IntersectionObserver(entries => {
      for (const entry of entries) if (entry.isIntersecting) { waiting.get(entry.target).draw(); watcher.unobserve(entry.target); }
    }, { rootMargin: "300px" });
    sections.forEach(section => watcher.observe(section));
    const again = () => drawn.filter(chart => chart.made).forEach(chart => chart.draw());
    let timer;
    addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(again, 120); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    printable(again);
    document.documentElement.dataset.ready = "1";
  }
  main();
})();
