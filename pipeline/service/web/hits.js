// The list of hits.

import { bar } from "./charts.js";
import { $, button, el, readable, shown, soft } from "./dom.js";

const COSINES = [["_cos_h", "hidden state"], ["_cos_r", "routing"]];

export function showHits(hits, marks, kept, actions) {
  $("hits").replaceChildren(...hits.map((hit, place) => item(hit, marks?.[place] ?? [], kept, actions)));
}

function item(hit, marks, kept, { open, like, unlike }) {
  const text = hit._passage ?? hit.text;
  const facts = kept.filter((name) => hit[name] !== null && hit[name] !== undefined);
  return el("li", {},
    button(hit.id, () => open(hit.id), { className: "open", title: "Open the document" }),
    text ? el("p", { className: "passage" }, ...marked(text, marks)) : null,
    el("div", { className: "facts" },
      ...bars(hit),
      ...facts.map((name) => el("span", {}, soft(`${name} `), readable(hit[name])))),
    el("div", { className: "actions" },
      button("More like this", () => like(hit.id), { label: `More like this: ${hit.id}` }),
      button("Less like this", () => unlike(hit.id), { label: `Less like this: ${hit.id}` })));
}

function bars(hit) {
  return COSINES.filter(([name]) => typeof hit[name] === "number").map(([name, label]) =>
    el("span", { className: "cosine" }, `${label} `, bar(hit[name]), ` ${hit[name].toFixed(2)}`));
}

// Marks count characters, as Python does, not UTF-16 units.
function marked(text, marks) {
  const letters = Array.from(text);
  const parts = [];
  let end = 0;
  for (const [begin, to] of marks) {
    const from = Math.max(begin, end);
    if (from >= to) continue;
    parts.push(letters.slice(end, from).join(""), el("mark", {}, letters.slice(from, to).join("")));
    end = to;
  }
  return [...parts, letters.slice(end).join("")];
}

export function save(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// A value that a spreadsheet would run as a formula gets an apostrophe before it.
export function asCsv(hits) {
  const names = [...new Set(hits.flatMap(Object.keys))];
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : shown(value);
    return `"${(typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  return [names.map(cell), ...hits.map((hit) => names.map((name) => cell(hit[name])))].map((row) => row.join(",")).join("\r\n");
}
