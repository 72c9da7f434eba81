// Draws every figure.curve: asks the server for the numbers that its table also shows, and hands them to uPlot.
"use strict";
(() => {
  const UNITS = { 1024: ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 1000: ["", "k", "M", "G", "T", "P"] };
  const HEIGHT = 220;
  // Steps of an axis of bytes.
  const POWERS = Array.from({ length: 60 }, (_, exponent) => 2 ** exponent);

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function scaled(value, unit) {
    if (value == null) return "–";
    const bytes = unit === "B" || unit === "B/s";
    const step = bytes ? 1024 : 1000;
    let place = 0;
    while (Math.abs(value) >= step && place < 5) {
      value /= step;
      place += 1;
    }
    const number = String(Number(value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2)));
    const suffix = bytes ? UNITS[1024][place] + unit.slice(1) : UNITS[1000][place] + unit;
    return suffix ? `${number} ${suffix}` : number;
  }

  const clock = (seconds, whole) => {
    const text = new Date(seconds * 1000).toISOString();
    return whole ? text.slice(0, 16).replace("T", " ") : text.slice(11, 16);
  };

  // Hours of the day, and the date where a new one begins.
  const times = (chart, ticks, place, space, step) => {
    let before = "";
    return ticks.map((tick) => {
      const day = clock(tick, true).slice(0, 10);
      const hour = step < 86400 ? clock(tick, false) : "";
      const text = day === before ? hour : [hour, day].filter(Boolean).join("\n");
      before = day;
      return text;
    });
  };

  // Series with times of their own become columns over all times.
  function aligned(series) {
    const times = [...new Set(series.flatMap((one) => one.times))].sort((a, b) => a - b);
    const place = new Map(times.map((time, index) => [time, index]));
    const columns = series.map((one) => {
      const column = new Array(times.length).fill(null);
      one.times.forEach((time, index) => {
        column[place.get(time)] = one.values[index];
      });
      return column;
    });
    return [times, ...columns];
  }

  function ofSamples(answer, figure) {
    const factor = Number(figure.dataset.factor);
    const labels = JSON.parse(figure.dataset.labels);
    return answer.series.flatMap((table) =>
      table.metrics
        .filter((metric) => metric.form === figure.dataset.form && metric.name in labels)
        .map((metric) => ({
          label: [labels[metric.name], table.instance].filter(Boolean).join(" ") || metric.name,
          times: table.times,
          values: metric.values.map((value) => (value == null ? null : value * factor)),
        })),
    );
  }

  function ofQueues(answer) {
    const names = { running: "running", idle: "waiting", held: "held" };
    const times = answer.queues.map((point) => Date.parse(point.start) / 1000);
    return Object.entries(names).map(([name, label]) => ({
      label,
      times,
      values: answer.queues.map((point) => point.means[name] ?? null),
    }));
  }

  function draw(figure, series) {
    const plot = figure.querySelector(".plot");
    const unit = figure.dataset.unit;
    const bytes = unit === "B" || unit === "B/s";
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      width: plot.clientWidth,
      height: HEIGHT,
      cursor: { drag: { x: true, y: false } },
      scales: { y: { range: (chart, low, high) => [Math.min(0, low ?? 0), (high ?? 1) * 1.05 || 1] } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: [{ ...axis, values: times }, { ...axis, size: 72, incrs: bytes ? POWERS : undefined, values: (chart, ticks) => ticks.map((tick) => scaled(tick, unit)) }],
      series: [
        { label: "UTC", value: (chart, time) => (time == null ? "–" : clock(time, true)) },
        ...series.map((one, index) => ({
          label: one.label,
          stroke: colour(`--curve-${(index % 6) + 1}`),
          width: 1.5,
          spanGaps: false,
          dash: index < 6 ? undefined : [6, 3],
          value: (chart, value) => scaled(value, unit),
        })),
      ],
    };
    const chart = new uPlot(options, aligned(series), plot);
    plot.querySelector(".u-wrap").setAttribute("aria-hidden", "true");
    new ResizeObserver(() => chart.setSize({ width: plot.clientWidth, height: HEIGHT })).observe(plot);
  }

  async function show(figure) {
    const answer = await fetch(figure.dataset.url, { headers: { accept: "application/json" } });
    const plot = figure.querySelector(".plot");
    if (!answer.ok) {
      plot.textContent = "The numbers cannot be had now; the table below holds some.";
      figure.querySelector("details").open = true;
      return;
    }
    const told = await answer.json();
    plot.replaceChildren();
    draw(figure, figure.dataset.form === "queue" ? ofQueues(told) : ofSamples(told, figure));
  }

  const figures = [...document.querySelectorAll("figure.curve")];
  // One after the other, those in sight first: many at once would only wait for one another.
  (async () => {
    for (const figure of figures) await show(figure);
  })();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach(show));
})();
