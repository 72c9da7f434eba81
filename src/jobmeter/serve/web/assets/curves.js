// Draws every figure.curve with uPlot: samples, zoomed together by mouse or buttons and kept going while a job runs; queues.
"use strict";
(() => {
  if (!window.uPlot) return;
  const POINTS = 240;
  const HEIGHT = 220;
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800];
  const TAIL_SECONDS = 5;
  const LEAST_SECONDS = 10;
  const POWERS = Array.from({ length: 60 }, (_, power) => 2 ** power);
  const DASH = "\u2013";

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A value as people read it, with its unit.
  const written = (value, unit) => {
    if (value == null) return DASH;
    if (unit.startsWith("bytes")) return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]) + unit.slice(5);
    if (unit === "part") return `${Number((value * 100).toFixed(1))} %`;
    if (unit === "W") return scaled(value, 1000, ["W", "kW", "MW", "GW"]);
    return `${rounded(value)} ${unit}`.trim();
  };
  const scaled = (value, step, names) => {
    let place = 0;
    while (Math.abs(value) >= step && place < names.length - 1) {
      value /= step;
      place += 1;
    }
    return `${rounded(value)} ${names[place]}`;
  };
  const rounded = (value) => Number(value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2));

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

  const figures = [...document.querySelectorAll("figure.curve")].map((element) => ({
    element,
    plot: element.querySelector(".plot"),
    title: element.dataset.title,
    unit: element.dataset.unit,
    metrics: JSON.parse(element.dataset.labels || "{}"),
    factor: Number(element.dataset.factor || 1),
    queue: element.dataset.queue,
    drawn: null,
    redraw: () => {},
  }));

  // `shown` are the first and the last second; `zoom` is told what is dragged over.
  const draw = (figure, labels, data, shown, zoom) => {
    figure.redraw = () => draw(figure, labels, data, shown, zoom);
    figure.drawn?.destroy();
    const bytes = figure.unit.startsWith("bytes");
    const axis = { stroke: style("--faint"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false } };
    figure.drawn = new uPlot(
      {
        width: Math.max(240, figure.plot.clientWidth),
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        cursor: { sync: { key: "figures" }, drag: { x: Boolean(zoom), y: false, setScale: false } },
        scales: {
          x: { min: shown.first, max: shown.last },
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.05 : 1] },
        },
        axes: [
          { ...axis, space: 70, values: clock },
          { ...axis, size: 84, ...(bytes ? { incrs: POWERS } : {}), values: (_, ticks) => ticks.map((tick) => written(tick, figure.unit)) },
        ],
        series: [
          { label: "UTC", value: (_, time) => (time == null ? DASH : new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ")) },
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
              if (!zoom || plot.select.width < 4) return;
              const edges = [plot.select.left, plot.select.left + plot.select.width];
              plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              zoom(...edges.map((edge) => plot.posToVal(edge, "x")));
            },
          ],
        },
      },
      data,
      figure.plot,
    );
    figure.plot.setAttribute("role", "img");
    figure.plot.setAttribute("aria-label", `${figure.title}: curves; the values are in the table below`);
  };

  // One figure's curves out of an answer of samples: a line per metric, node and device, over all times.
  const lines = (figure, series) => {
    const named = new Set(series.map((one) => one.node)).size > 1;
    const found = new Map();
    for (const one of series) {
      for (const metric of one.metrics) {
        const form = metric.kind === "counter" ? "rate" : "mean";
        if (!(metric.name in figure.metrics) || metric.form !== form) continue;
        const parts = [figure.metrics[metric.name], named ? one.node : "", one.instance];
        const label = parts.filter(Boolean).join(" · ") || figure.title.toLowerCase();
        if (!found.has(label)) found.set(label, new Map());
        const line = found.get(label);
        metric.values.forEach((value, at) => {
          // What two have measured, such as the agent of a node and `jobmeter run`, counts once.
          if (value != null && !line.has(one.times[at])) line.set(one.times[at], value * figure.factor);
        });
      }
    }
    const labels = [...found.keys()].sort();
    const times = [...new Set(labels.flatMap((label) => [...found.get(label).keys()]))].sort((a, b) => a - b);
    return { labels, data: [times, ...labels.map((label) => times.map((time) => found.get(label).get(time) ?? null))] };
  };

  const asked = async (address) => {
    const response = await fetch(address, { headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  };

  // The figures of samples: one question for all of them, and one stretch of time that they show.
  const traces = (place) => {
    const whole = { first: Number(place.dataset.first), last: Number(place.dataset.last) };
    let shown = { ...whole };
    let questions = 0;
    let zoomed = -Infinity;
    const metrics = [...new Set(figures.flatMap((figure) => Object.keys(figure.metrics)))].join(",");

    const load = async () => {
      const number = (questions += 1);
      const step = STEPS.find((one) => one >= (shown.last - shown.first) / POINTS) ?? STEPS.at(-1);
      try {
        const stretch = `from=${Math.floor(shown.first)}&to=${Math.ceil(shown.last)}&step=${step}s`;
        const answer = await asked(`${place.dataset.samples}&metric=${metrics}&${stretch}`);
        if (number !== questions) return;
        note.textContent = "";
        for (const figure of figures) {
          const { labels, data } = lines(figure, answer.series);
          draw(figure, labels, data, shown, zoom);
        }
      } catch {
        note.textContent = "The samples cannot be had now; the tables hold some.";
      }
    };

    const show = (first, last) => {
      const room = whole.last - whole.first;
      const length = Math.min(room, Math.max(LEAST_SECONDS, last - first));
      const begin = Math.min(Math.max(first, whole.first), whole.last - length);
      shown = { first: begin, last: begin + length };
      load();
    };

    // The other figures follow the same drag and tell of it, too.
    const zoom = (first, last) => {
      if (performance.now() - zoomed < 300) return;
      zoomed = performance.now();
      show(first, last);
    };

    const middle = () => (shown.first + shown.last) / 2;
    const length = () => shown.last - shown.first;
    const note = bar(place, [
      ["Zoom in", () => show(middle() - length() / 4, middle() + length() / 4)],
      ["Zoom out", () => show(middle() - length(), middle() + length())],
      ["Earlier", () => show(shown.first - length() / 2, shown.last - length() / 2)],
      ["Later", () => show(shown.first + length() / 2, shown.last + length() / 2)],
      ["All of it", () => show(whole.first, whole.last)],
    ]);

    // While the job runs: each sample that comes moves the end on; the curves are asked for anew at most every few seconds.
    const follow = (address) => {
      let due = null;
      const tail = new EventSource(address);
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
    };

    load();
    if (place.dataset.tail) follow(place.dataset.tail);
  };

  // Buttons, and a line beside them that is read out when it changes.
  const bar = (place, buttons) => {
    const element = document.createElement("div");
    element.className = "bar";
    element.setAttribute("role", "group");
    element.setAttribute("aria-label", "Time shown");
    for (const [label, act] of buttons) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", act);
      element.append(button);
    }
    const note = document.createElement("span");
    note.setAttribute("role", "status");
    note.className = "small faint";
    element.append(note);
    place.append(element);
    return note;
  };

  const queue = async (figure) => {
    const names = { running: "running", idle: "waiting", held: "held" };
    try {
      const points = (await asked(figure.queue)).queues;
      const times = points.map((point) => Date.parse(point.start) / 1000);
      const columns = Object.keys(names).map((name) => points.map((point) => point.means[name] ?? null));
      draw(figure, Object.values(names), [times, ...columns], { first: times[0], last: times.at(-1) });
    } catch {
      figure.plot.textContent = "The numbers cannot be had now; the table below holds some.";
    }
  };

  const place = document.getElementById("traces");
  if (place) traces(place);
  // One after the other, those in sight first: many at once would only wait for one another.
  (async () => {
    for (const figure of figures) if (figure.queue) await queue(figure);
  })();

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const figure of figures) figure.drawn?.setSize({ width: Math.max(240, figure.plot.clientWidth), height: HEIGHT });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach((figure) => figure.redraw()));
})();
