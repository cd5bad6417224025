// Small charts. Whoever puts one on the page says the same in words: as its label, or as text beside it.

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg"; // a name; nothing is fetched from there
const UNITS_WIDE = 18;

// A bar for a share in [0, 1]; the text beside it says how much.
export function bar(share) {
  const made = el("span", { className: "bar" }, el("span"));
  made.firstChild.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return made;
}

// A column for each of some numbers, as high as its share of the largest.
export function columns(values, label) {
  const top = Math.max(...values) || 1;
  const drawn = svg("svg", { class: "chart", viewBox: `0 0 ${values.length} 1`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  drawn.style.maxWidth = `${UNITS_WIDE * values.length}px`;
  drawn.append(...values.map((value, place) => svg("rect", { x: place + 0.08, y: 1 - value / top, width: 0.84, height: value / top })));
  return drawn;
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}
