"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const remember = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a file may have no storage */ } };
const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

/* Theme: the system's until the reader chooses. */
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
if (recall("mskdex-theme")) document.documentElement.dataset.theme = recall("mskdex-theme");
function setUpTheme(redraw) {
  $("#theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remember("mskdex-theme", document.documentElement.dataset.theme);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

/* Tables: a click on a heading sorts the row groups by their first row. */
const shownNumber = (cell) => (cell.firstChild?.textContent ?? "").replace(/^−(?=\d)/, "-").replace(/^–$/, "nan");
function sortTable(table, column, direction) {
  const key = (body) => {
    const cell = body.rows[0].cells[column], text = cell.dataset.sort ?? shownNumber(cell);
    const number = text === "" ? NaN : Number(text);
    return Number.isNaN(number) ? text : number;
  };
  const missing = (value) => value === "" || value === "nan";
  const bodies = [...table.tBodies].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return direction * order;
  });
  table.append(...bodies);
}
function setUpTables() {
  for (const table of $$("table.sortable")) {
    $$("th[data-column]", table).forEach((heading) => heading.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") === "descending" || !heading.hasAttribute("aria-sort") && heading.classList.contains("text");
      $$("th[aria-sort]", table).forEach((h) => h.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortTable(table, Number(heading.dataset.column), ascending ? 1 : -1);
    }));
  }
  for (const button of $$("button[data-unfold]")) {
    button.addEventListener("click", () => {
      const folded = document.getElementById(button.dataset.unfold).classList.toggle("folded");
      button.setAttribute("aria-expanded", String(!folded));
    });
  }
  for (const input of $$("input[data-filter]")) {
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const body of document.getElementById(input.dataset.filter).tBodies) {
        const text = body.textContent.toLowerCase();
        body.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
}

/* Segmented buttons: one is pressed. */
function setUpSegments(name, changed) {
  const buttons = $$(`[data-segments="${name}"] button`);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      buttons.forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      changed(button.value);
    });
  }
  return buttons.find((b) => b.getAttribute("aria-pressed") === "true")?.value;
}

/* Decompositions: grey tiles mapped to colours on a fixed scale. */
const INFERNO = [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]];
const DIVERGING = [[33, 102, 172], [103, 169, 207], [209, 229, 240], [247, 247, 247], [253, 219, 199], [239, 138, 98], [178, 24, 43]];
function colour(map, t) {
  const position = Math.min(Math.max(t, 0), 1) * (map.length - 1);
  const i = Math.min(Math.floor(position), map.length - 2);
  return map[i].map((v, k) => v + (map[i + 1][k] - v) * (position - i));
}
const lookup = (map) => Array.from({ length: 256 }, (_, i) => colour(map, i / 255));
const TABLES = { inferno: lookup(INFERNO), diverging: lookup(DIVERGING) };
const gradient = (map) => `linear-gradient(90deg, ${map.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
const loaded = new Map();
function load(uri) {
  if (!loaded.has(uri)) {
    loaded.set(uri, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("an image of the report cannot be decoded"));
      image.src = uri;
    }));
  }
  return loaded.get(uri);
}
async function tile(sheet, index) {
  const image = await load(sheet.uri);
  const canvas = new OffscreenCanvas(sheet.columns, sheet.rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, -(index % sheet.across) * sheet.columns, -Math.floor(index / sheet.across) * sheet.rows);
  const data = context.getImageData(0, 0, sheet.columns, sheet.rows).data;
  return Float32Array.from({ length: sheet.columns * sheet.rows }, (_, i) => data[4 * i + sheet.colour]);
}
function paint(canvas, sheet, values, table) {
  canvas.width = sheet.columns;
  canvas.height = sheet.rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(sheet.columns, sheet.rows);
  values.forEach((v, i) => {
    const [r, g, b] = table[Math.min(Math.max(Math.round(v), 0), 255)];
    image.data.set([r, g, b, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}
const three = (v) => v === null || v === undefined ? "–" : Number(v.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
class Viewer {
  constructor(element, data) { this.element = element; this.data = data; this.turn = 0; }
  async show(channel, quantity) {
    const { data } = this, turn = ++this.turn;
    const index = data.channels.findIndex((c) => c.name === channel);
    if (index < 0 || !data.sheets[quantity]) { this.element.replaceChildren("This object is not among the channels."); return; }
    const { truth, predicted } = data.sheets[quantity];
    const reference = await tile(truth, index);
    const numbers = data.numbers[channel]?.[quantity] ?? {};
    const unit = data.units[quantity];
    const figures = [this.figure(truth, reference, TABLES.inferno, `CT, ${data.channels[index].pose}`, `${three(numbers.truth)} ${unit}`)];
    const off = [];
    for (const [method, sheet] of Object.entries(predicted)) {
      const values = await tile(sheet, index);
      figures.push(this.figure(sheet, values, TABLES.inferno, method, `${three(numbers.predicted?.[method])} ${unit}`));
      off.push(this.figure(sheet, values.map((v, i) => 127.5 + (v - reference[i])), TABLES.diverging, `${method} − CT`, data.channels[index].same ? "same pose" : "poses differ"));
    }
    if (turn !== this.turn) return;
    this.element.replaceChildren(...figures, ...off);
    this.element.dataset.shown = `${channel} ${quantity}`;
  }
  figure(sheet, values, table, title, note) {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}: ${note}`);
    paint(canvas, sheet, values, table);
    const strong = document.createElement("b");
    strong.textContent = title;
    caption.append(strong, document.createElement("br"), note);
    figure.append(canvas, caption);
    return figure;
  }
}
function scaleBar(element, range, unit) {
  const part = (map, low, high) => `<i style="background:${gradient(map)}"></i><span>${low} to ${high} ${unit} per pixel</span>`;
  const half = three(range / 2);
  element.innerHTML = `${part(INFERNO, 0, three(range))}${part(DIVERGING, "−" + half, half)}`;
}
async function unpack(id) {
  const bytes = Uint8Array.from(atob($(id).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
