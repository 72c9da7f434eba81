// The curves of a job: drawn from /v2/samples, zoomed by mouse or buttons, and kept going while the job runs.
"use strict";
(() => {
  const place = document.getElementById("traces");
  if (!place || !window.uPlot) return;
  const POINTS = 240;
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800];
  const TAIL_SECONDS = 5;
  const POWERS = Array.from({ length: 60 }, (_, power) => 2 ** power);
  const figures = [...document.querySelectorAll("figure.curve")].map((element) => ({
    element,
    plot: element.querySelector(".plot"),
    metrics: element.dataset.metrics.split(" "),
    unit: element.dataset.unit,
    factor: Number(element.dataset.factor),
    drawn: null,
  }));
  const whole = { first: Number(place.dataset.first), last: Number(place.dataset.last) };
  let shown = { ...whole };
  let asked = 0;
  let zoomed = -Infinity;

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dash = "\u2013";

  const written = (value, unit) => {
    if (value == null) return dash;
    if (unit.startsWith("bytes")) {
      const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
      let at = 0;
      while (Math.abs(value) >= 1024 && at < names.length - 1) {
        value /= 1024;
        at += 1;
      }
      return `${value.toFixed(at === 0 || Math.abs(value) >= 100 ? 0 : 1)} ${names[at]}${unit.slice(5)}`;
    }
    if (unit === "part") return `${(value * 100).toFixed(1)} %`;
    return `${value.toFixed(Math.abs(value) >= 100 ? 0 : 2)} ${unit}`.trim();
  };

  // One figure's curves out of the answer: times, and a line per metric, node and device.
  const lines = (figure, series) => {
    const found = new Map();
    for (const one of series) {
      for (const metric of one.metrics) {
        const form = metric.kind === "counter" ? "rate" : "mean";
        if (!figure.metrics.includes(metric.name) || metric.form !== form) continue;
        const parts = figure.metrics.length > 1 ? [metric.name.slice(metric.name.indexOf("_") + 1).replaceAll("_", " ")] : [];
        parts.push(one.node);
        if (one.instance) parts.push(one.instance);
        const label = parts.join(" · ");
        if (!found.has(label)) found.set(label, new Map());
        const line = found.get(label);
        metric.values.forEach((value, at) => {
          if (value != null) line.set(one.times[at], (line.get(one.times[at]) ?? 0) + value * figure.factor);
        });
      }
    }
    const labels = [...found.keys()].sort();
    const times = [...new Set(labels.flatMap((label) => [...found.get(label).keys()]))].sort((a, b) => a - b);
    return { labels, data: [times, ...labels.map((label) => times.map((time) => found.get(label).get(time) ?? null))] };
  };

  // The axis in hours of the day, UTC, with the date where it begins or changes.
  const clock = (_, ticks, __, ___, step) => {
    let day = "";
    return ticks.map((seconds) => {
      const text = new Date(seconds * 1000).toISOString();
      const time = step >= 86400 ? "" : text.slice(11, step < 60 ? 19 : 16);
      const date = text.slice(0, 10) === day ? "" : text.slice(0, 10);
      day = text.slice(0, 10);
      return [time, date].filter(Boolean).join("\n");
    });
  };

  const draw = (figure, series) => {
    const { labels, data } = lines(figure, series);
    figure.drawn?.destroy();
    const axis = { stroke: style("--faint"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") } };
    figure.drawn = new uPlot(
      {
        width: Math.max(240, figure.plot.clientWidth),
        height: 220,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        cursor: { sync: { key: "job" }, drag: { x: true, y: false, setScale: false } },
        scales: { x: { min: shown.first, max: shown.last }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.05 : 1] } },
        axes: [{ ...axis, space: 70, values: clock }, { ...axis, size: 84, ...(figure.unit.startsWith("bytes") ? { incrs: POWERS } : {}), values: (_, ticks) => ticks.map((tick) => written(tick, figure.unit)) }],
        series: [
          { label: "Time (UTC)" },
          ...labels.map((label, at) => ({
            label,
            stroke: style(`--curve-${(at % 6) + 1}`),
            width: 1.5,
            dash: at < 6 ? [] : [6, 4],
            value: (_, value) => written(value, figure.unit),
          })),
        ],
        hooks: {
          setSelect: [
            (plot) => {
              // The other figures follow the same drag and tell of it, too.
              if (plot.select.width < 4 || performance.now() - zoomed < 300) return;
              zoomed = performance.now();
              const first = plot.posToVal(plot.select.left, "x");
              const last = plot.posToVal(plot.select.left + plot.select.width, "x");
              plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              show(first, last);
            },
          ],
        },
      },
      data,
      figure.plot,
    );
    figure.plot.setAttribute("role", "img");
    figure.plot.setAttribute("aria-label", `${figure.element.querySelector("figcaption").firstChild.textContent.trim()}: curves; the values are in the table below`);
  };

  let series = [];
  const load = async () => {
    const number = (asked += 1);
    const step = STEPS.find((one) => one >= (shown.last - shown.first) / POINTS) ?? STEPS.at(-1);
    const metrics = [...new Set(figures.flatMap((figure) => figure.metrics))].join(",");
    const address = `${place.dataset.samples}&metric=${metrics}&from=${Math.floor(shown.first)}&to=${Math.ceil(shown.last)}&step=${step}s&format=json`;
    let answer;
    try {
      const response = await fetch(address);
      if (!response.ok) throw new Error(String(response.status));
      answer = await response.json();
    } catch {
      note.textContent = "The samples could not be read now.";
      return;
    }
    if (number !== asked) return;
    note.textContent = "";
    series = answer.series;
    for (const figure of figures) draw(figure, series);
  };

  const show = (first, last) => {
    const room = whole.last - whole.first;
    const length = Math.min(room, Math.max(10, last - first));
    const begin = Math.min(Math.max(first, whole.first), whole.last - length);
    shown = { first: begin, last: begin + length };
    load();
  };

  const bar = document.createElement("div");
  bar.className = "bar";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "Time shown");
  const middle = () => (shown.first + shown.last) / 2;
  const length = () => shown.last - shown.first;
  const buttons = [
    ["Zoom in", () => show(middle() - length() / 4, middle() + length() / 4)],
    ["Zoom out", () => show(middle() - length(), middle() + length())],
    ["Earlier", () => show(shown.first - length() / 2, shown.last - length() / 2)],
    ["Later", () => show(shown.first + length() / 2, shown.last + length() / 2)],
    ["Whole job", () => show(whole.first, whole.last)],
  ];
  for (const [label, act] of buttons) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", act);
    bar.append(button);
  }
  const note = document.createElement("span");
  note.setAttribute("role", "status");
  note.className = "small faint";
  bar.append(note);
  place.append(bar);

  // While the job runs: each sample that comes moves the end on; the curves are asked for anew at most every few seconds.
  if (place.dataset.running) {
    let due = null;
    const tail = new EventSource(place.dataset.tail);
    tail.addEventListener("sample", () => {
      if (due !== null || document.hidden) return;
      due = setTimeout(() => {
        due = null;
        const atEnd = shown.last >= whole.last - 1;
        whole.last = Math.ceil(Date.now() / 1000);
        if (atEnd) {
          const first = shown.first <= whole.first ? whole.first : whole.last - length();
          shown = { first, last: whole.last };
          load();
        }
      }, TAIL_SECONDS * 1000);
    });
    addEventListener("pagehide", () => tail.close());
  }

  let width = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const figure of figures) figure.drawn?.setSize({ width: Math.max(240, figure.plot.clientWidth), height: 220 });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const figure of figures) draw(figure, series);
  });
  load();
})();
