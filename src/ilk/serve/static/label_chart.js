// The learning curve as SVG, coloured by the style sheet; its figures are also in a table.

import { formatPercent } from "./label_dom.js";

const WIDTH = 560;
const HEIGHT = 240;
const LEFT = 44;
const RIGHT = 16;
const TOP = 14;
const BOTTOM = 40;
const SPACE = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const node = document.createElementNS(SPACE, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Return round numbers from 0 to at least `most`. */
function listTicks(most, n = 5) {
  const raw = most / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const ticks = [];
  for (let tick = 0; tick <= most + 1e-9; tick += step) ticks.push(Math.round(tick * 1e6) / 1e6);
  return ticks;
}

/**
 * Draw measured points, and an expected continuation with its interval.
 * @param {{n: number, accuracy: number}[]} points
 * @param {{n: number, accuracy: number, low: number, high: number}[]} expected
 */
export function drawLearningCurve(points, expected, sentence) {
  const all = [...points, ...expected];
  const most = Math.max(...all.map((point) => point.n)) * 1.04;
  const least = Math.max(0, Math.floor(Math.min(...all.map((point) => point.low ?? point.accuracy)) * 10 - 1e-9) / 10);
  const x = (n) => LEFT + (n / most) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((1 - value) / (1 - least || 1)) * (HEIGHT - TOP - BOTTOM);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": sentence });
  const step = [0.02, 0.05, 0.1, 0.2].find((size) => (1 - least) / size <= 5.01) ?? 0.25;
  for (let value = 1; value >= least - 1e-9; value -= step) {
    svg.append(draw("line", { class: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, formatPercent(Math.round(value * 100) / 100)));
  }
  for (const tick of listTicks(most)) {
    svg.append(draw("text", { x: x(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, tick));
  }
  svg.append(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "labelled images"));
  const line = (list) => list.map((point) => `${x(point.n)},${y(point.accuracy)}`).join(" ");
  const band = (list) => {
    const upper = list.map((point) => `${x(point.n)},${y(point.high ?? point.accuracy)}`);
    const lower = list.map((point) => `${x(point.n)},${y(point.low ?? point.accuracy)}`).reverse();
    return [...upper, ...lower].join(" ");
  };
  if (expected.length > 0) {
    const from = points.length > 0 ? [points.at(-1), ...expected] : expected;
    svg.append(draw("polygon", { class: "band", points: band(from) }));
    svg.append(draw("polyline", { class: "expected", points: line(from) }));
  }
  svg.append(draw("polyline", { class: "curve", points: line(points) }));
  for (const point of points) svg.append(draw("circle", { class: "point", cx: x(point.n), cy: y(point.accuracy), r: 3.5 }));
  for (const point of expected) svg.append(draw("circle", { class: "point open", cx: x(point.n), cy: y(point.accuracy), r: 3.5 }));
  return svg;
}
