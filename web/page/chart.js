// SPDX-License-Identifier: Apache-2.0
// Throughput over time.
import { element, rate } from "./text.js";

const span = 120000; // milliseconds
const colours = 6;
// round is the next larger figure that begins with 1, 2 or 5.
const round = (n) => {
  const magnitude = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].find((f) => f * magnitude >= n) * magnitude;
};
const svg = (name, attributes, ...children) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
};

export class Chart {
  #svg;
  #legend;
  #at = performance.now(); // the last look
  #series = new Map(); // name → {points, now}, in the order of colours

  constructor(svg, legend) {
    this.#svg = svg;
    this.#legend = legend;
    new ResizeObserver(() => this.draw(this.#at)).observe(svg);
  }

  // add takes name → {in, out} in bytes per second.
  add(values, at) {
    this.#at = at;
    for (const name of values.keys()) {
      if (!this.#series.has(name)) this.#series.set(name, { points: [] });
    }
    for (const [name, s] of this.#series) {
      s.now = values.get(name) || { in: 0, out: 0 };
      s.points.push([at, s.now.in + s.now.out]);
      while (s.points[0][0] < at - span) s.points.shift();
      if (!values.has(name) && s.points.every((p) => p[1] === 0)) this.#series.delete(name);
    }
    this.draw(at);
  }

  draw(at) {
    const width = this.#svg.clientWidth || 600, height = this.#svg.clientHeight || 200, foot = 22;
    let most = 1250; // 10 kbit/s
    for (const s of this.#series.values()) for (const p of s.points) most = Math.max(most, p[1]);
    most = round(most * 8) / 8; // bits are what is shown
    const x = (t) => width - ((at - t) / span) * width;
    const y = (v) => (height - foot) * (1 - v / (most * 1.05)) + 2;
    const parts = [];
    for (const part of [0, 0.5, 1]) {
      parts.push(svg("line", { class: "grid", x1: 0, x2: width, y1: y(most * part), y2: y(most * part) }));
      if (part > 0) parts.push(svg("text", { x: 4, y: y(most * part) + 14 }, rate(most * part)));
    }
    parts.push(svg("text", { x: 4, y: height - 6 }, "2 minutes ago"), svg("text", { x: width - 4, y: height - 6, "text-anchor": "end" }, "now"));
    const legend = [];
    let i = 0;
    for (const [name, s] of this.#series) {
      const colour = "s" + (i % colours);
      const d = s.points.map(([t, v], n) => (n ? "L" : "M") + x(t).toFixed(1) + " " + y(v).toFixed(1)).join("");
      parts.push(svg("path", { class: colour + (i >= colours ? " dash" : ""), d }));
      legend.push(element("li", { "data-path": name }, element("i", { class: colour }), name + "  ", element("span", { class: "note" }, "↓ " + rate(s.now.in) + "  ↑ " + rate(s.now.out))));
      i++;
    }
    this.#svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    this.#svg.replaceChildren(...parts);
    this.#legend.replaceChildren(...legend);
  }
}
