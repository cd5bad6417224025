// Filters for kept columns: few values as checkboxes with their counts, numbers and dates as ranges.

import { $, el, shown } from "./dom.js";
import { get } from "./service.js";

const OWN = new Set(["id", "text", "vector", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row",
  "doc_id", "chunk", "chunk_start", "chunk_end"]);
const FEW = 12;

export const keptNames = (columns) => Object.keys(columns).filter((name) => !OWN.has(name));

const isNumber = (type) => /^(u?int|float|double|halffloat|decimal)/.test(type);
const isDate = (type) => /^date/.test(type);
const isValue = (type) => /^(string|large_string|bool|dictionary)/.test(type);

export async function showFilters(table, state, changed) {
  const made = await Promise.all(keptNames(table.columns).map((name) => filter(table, name, state, changed)));
  const groups = made.filter(Boolean);
  $("filter-list").replaceChildren(...groups);
  $("filters").hidden = groups.length === 0;
}

async function filter(table, name, state, changed) {
  const type = table.columns[name];
  if (isNumber(type) || isDate(type)) return range(name, isDate(type) ? "date" : "number", state, changed);
  if (!isValue(type)) return null;
  const { facets } = await get("/facets", { column: name, most: FEW + 1, table: table.table }).catch(() => ({ facets: {} }));
  const counts = (facets[name] ?? []).filter(({ value }) => value !== null);
  return counts.length > 0 && counts.length <= FEW ? values(name, counts, state, changed) : null;
}

function values(name, counts, state, changed) {
  const chosen = state.where[name];
  const isChosen = (value) => Array.isArray(chosen) && chosen.includes(value);
  const boxes = counts.map(({ value, count }) => {
    const box = el("input", { type: "checkbox", checked: isChosen(value) });
    box.value = shown(value);
    box.onchange = () => changed(name, counts.filter((_, place) => all[place].checked).map((each) => each.value));
    return { box, label: el("label", {}, box, ` ${shown(value)} `, el("span", { className: "soft" }, String(count))) };
  });
  const all = boxes.map(({ box }) => box);
  return el("fieldset", {}, el("legend", {}, name), ...boxes.map(({ label }) => label));
}

function range(name, type, state, changed) {
  const given = state.where[name] ?? {};
  const read = (field) => (type === "number" ? Number(field.value) : field.value);
  const change = () => {
    const bounds = {};
    if (low.value !== "") bounds.gte = read(low);
    if (high.value !== "") bounds.lte = read(high);
    changed(name, bounds);
  };
  const bound = (label, value) => el("input", { type, step: "any", label: `${name} ${label}`, value: value ?? "", onchange: change });
  const low = bound("from", given.gte);
  const high = bound("to", given.lte);
  return el("fieldset", { className: "range" }, el("legend", {}, name), low, " – ", high);
}
