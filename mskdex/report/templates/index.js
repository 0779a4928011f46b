"use strict";
const state = { object: null, quantity: null, side: "both" };
let data = null;

function theme() {
  const css = getComputedStyle(document.documentElement);
  return { ink: css.getPropertyValue("--ink").trim(), soft: css.getPropertyValue("--soft").trim(), line: css.getPropertyValue("--line").trim() };
}
function layout(chart, categories) {
  const { ink, soft, line } = theme();
  const axis = (title, more) => ({ title: { text: title, font: { size: 12, color: soft } }, gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { color: soft, size: 11 }, automargin: true, ...more });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
    margin: { l: 56, r: 14, t: 10, b: 46 }, hovermode: "closest", hoverlabel: { font: { size: 12 } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: soft, size: 11 } },
    xaxis: axis(chart.x_label, chart.x_log ? { type: "log" } : chart.categories?.length ? { type: "category", categoryorder: "array", categoryarray: chart.categories } : {}), yaxis: axis(chart.y_label, chart.y_range ? { range: chart.y_range } : {}), ...(categories ? { scattermode: "group", scattergap: 0.4 } : {}),
  };
}
function trace(series, categories) {
  const interval = series.low && { type: "data", symmetric: false, array: series.high.map((h, i) => h - series.y[i]), arrayminus: series.low.map((l, i) => series.y[i] - l), color: series.colour, thickness: 1.2, width: 0 };
  const legend = series.name.endsWith(": limit") ? { showlegend: false, hoverinfo: "skip" } : {};
  return {
    type: "scatter", mode: series.mark, name: series.name, x: series.x, y: series.y, text: series.text, offsetgroup: categories ? series.name : undefined,
    error_y: interval || undefined, opacity: series.muted && series.mark !== "markers" ? 0.5 : 1,
    marker: { color: series.colour, size: series.low || series.muted ? 8 : 6, symbol: series.muted && series.mark === "markers" ? "diamond-open" : "circle", opacity: 0.85 },
    line: { color: series.colour, width: 1.6, dash: series.muted ? "dot" : "solid" },
    hovertemplate: series.text ? "%{y:.4g}<br>%{x}<br>%{text}<extra>" + series.name + "</extra>" : "%{y:.4g}<br>%{x}<extra>" + series.name + "</extra>", ...legend,
  };
}
function draw(element, chart) {
  const categories = chart.series.some((s) => typeof s.x[0] === "string");
  const options = { responsive: true, displayModeBar: false };
  element.querySelector("img")?.remove();
  Plotly.react(element, chart.series.map((s) => trace(s, categories)), layout(chart, categories), options);
}

/* Prediction against truth, and Bland–Altman, from the table of points. */
function pointSeries(kind) {
  const series = [], object = data.objects.find((o) => o.id === state.object);
  const channels = object.channels.filter((c) => state.side === "both" || c.side === state.side || c.side === "midline");
  const everything = [];
  for (const method of data.methods) {
    const x = [], y = [], text = [];
    for (const channel of channels) {
      const column = data.points[state.quantity]?.[channel.name];
      if (!column) continue;
      column.truth.forEach((truth, i) => {
        const predicted = column.predicted[method.id]?.[i];
        if (truth === null || predicted === null || predicted === undefined) return;
        x.push(kind === "scatter" ? truth : (truth + predicted) / 2);
        y.push(kind === "scatter" ? predicted : predicted - truth);
        text.push(`${data.patients[i]} ${channel.side}`);
      });
    }
    if (!x.length) continue;
    everything.push(...x, ...(kind === "scatter" ? y : []));
    series.push({ name: method.label, x, y, text, colour: method.colour, mark: "markers", visible: method.kind === "baseline" ? "legendonly" : true });
  }
  const ends = everything.length ? [everything.reduce((a, b) => Math.min(a, b)), everything.reduce((a, b) => Math.max(a, b))] : [];
  if (kind === "scatter" && ends.length) return [...series, { name: "identity", x: ends, y: ends, colour: theme().soft, mark: "lines", muted: true }];
  const lines = series.filter((s) => s.visible === true && s.y.length > 1).flatMap((s) => {
    const mean = s.y.reduce((a, b) => a + b, 0) / s.y.length;
    const sd = Math.sqrt(s.y.reduce((a, b) => a + (b - mean) ** 2, 0) / (s.y.length - 1));
    return [-1.96, 0, 1.96].map((k) => ({ name: `${s.name}: limit`, x: ends, y: [mean + k * sd, mean + k * sd], colour: s.colour, mark: "lines", muted: k !== 0 }));
  });
  return [...series, ...lines];
}
function drawPoints() {
  const unit = data.units[state.quantity];
  const axes = { scatter: [`CT (${unit})`, `radiograph (${unit})`], difference: [`mean of both (${unit})`, `radiograph − CT (${unit})`] };
  for (const kind of ["scatter", "difference"]) {
    const element = $(`#plot-${kind}`), series = pointSeries(kind), empty = !series.some((s) => s.mark === "markers");
    $(`#no-${kind}`).hidden = !empty;
    element.hidden = empty;
    if (empty) continue;
    const chart = { id: `${kind}_${state.quantity}_${state.object}`, x_label: axes[kind][0], y_label: axes[kind][1], series };
    draw(element, chart);
    Plotly.restyle(element, { visible: series.map((s) => s.visible ?? true) });
  }
  const name = data.objects.find((o) => o.id === state.object).label;
  $$("[data-object-name]").forEach((e) => { e.textContent = name; });
}

const viewers = [];
function drawViewers() {
  const object = data.objects.find((o) => o.id === state.object);
  const channel = object.channels.find((c) => c.side === state.side) ?? object.channels[0];
  for (const viewer of viewers) viewer.show(channel.name, state.quantity);
  if ($("#scale")) scaleBar($("#scale"), data.ranges[state.object]?.[state.quantity] ?? 0, data.units[state.quantity]);
}
function drawAll() {
  drawPoints();
  for (const element of $$(".plot[data-chart]")) {
    const chart = data.charts[element.dataset.chart];
    if (chart && !element.closest("[hidden]")) draw(element, chart);
  }
}
function show() {
  $$("[data-quantity]").forEach((e) => { e.hidden = e.dataset.quantity !== state.quantity; });
  drawAll();
  drawViewers();
}
function setUpCharts() {
  for (const select of $$("select[data-chooses]")) {
    const element = document.getElementById(select.dataset.chooses);
    select.addEventListener("change", () => { element.dataset.chart = select.value; draw(element, data.charts[select.value]); });
  }
}
function setUpNavigation() {
  const links = new Map($$("nav.side a").map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((a) => a.classList.remove("here"));
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  links.forEach((_, id) => { const e = document.getElementById(id); if (e) seen.observe(e); });
}

(async () => {
  data = JSON.parse(await unpack("#payload"));
  new Function(await unpack("#plotly"))();
  state.object = $("#object").value;
  state.quantity = setUpSegments("quantity", (value) => { state.quantity = value; show(); });
  state.side = setUpSegments("side", (value) => { state.side = value; show(); }) ?? "both";
  $("#object").addEventListener("change", (event) => { state.object = event.target.value; show(); });
  for (const element of $$(".viewer[data-viewer]")) viewers.push(new Viewer(element, data.viewers[Number(element.dataset.viewer)]));
  setUpTheme(drawAll);
  setUpTables();
  setUpCharts();
  setUpNavigation();
  show();
  document.documentElement.dataset.ready = "true";
})();
