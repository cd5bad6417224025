// Filters for kept columns: few values as checkboxes with their counts, many as a field that proposes the most frequent
// ones, numbers and times as ranges.

import { $, el, shown, soft } from "./dom.js";
import { get } from "./service.js";

const FEW = 12;
const PROPOSED = 100;
const PAUSE = 400; // milliseconds: a date is valid, and changes, with each digit of its year
const RANGES = { number: "number", date: "date", time: "datetime-local", instant: "datetime-local" };

const isCounted = ({ kind, is_list: isList }) => kind !== "other" && (isList || !(kind in RANGES));

export async function showFilters(table, state, changed) {
  const offered = table.kept.filter(({ kind }) => kind !== "other");
  $("filters").hidden = offered.length === 0;
  const column = offered.filter(isCounted).map(({ name }) => name);
  const { facets } = column.length ? await get("/facets", { column, most: PROPOSED, table: table.table }).catch(() => ({ facets: {} })) : {};
  $("filter-list").replaceChildren(...offered.map((kept, place) => {
    if (!isCounted(kept)) return range(kept, state, changed);
    const counts = (facets[kept.name] ?? []).filter(({ value }) => value !== null);
    return (counts.length <= FEW ? values : choice)(kept.name, counts, state, changed, `values-${place}`);
  }));
}

function values(name, counts, state, changed) {
  const chosen = state.where[name];
  const isChosen = (value) => Array.isArray(chosen) && chosen.includes(value);
  const boxes = counts.map(({ value, count }) => {
    const box = el("input", { type: "checkbox", checked: isChosen(value) });
    box.value = shown(value);
    box.onchange = () => changed(name, counts.filter((_, place) => all[place].checked).map((each) => each.value));
    return { box, label: el("label", {}, box, ` ${shown(value)} `, soft(String(count))) };
  });
  const all = boxes.map(({ box }) => box);
  return el("fieldset", {}, el("legend", {}, name), ...boxes.map(({ label }) => label));
}

function choice(name, counts, state, changed, id) {
  const chosen = [state.where[name] ?? []].flat();
  const field = el("input", { type: "search", label: name, autocomplete: "off", placeholder: chosen.length > 1 ? `${chosen.length} values` : "any",
    value: chosen.length === 1 ? shown(chosen[0]) : "" });
  field.setAttribute("list", id);
  field.onchange = () => {
    const proposed = counts.find(({ value }) => shown(value) === field.value);
    changed(name, field.value === "" ? [] : [proposed ? proposed.value : field.value]);
  };
  const options = counts.map(({ value, count }) => el("option", { value: shown(value), label: `${shown(value)} (${count})` }));
  return el("fieldset", { className: "choice" }, el("legend", {}, name), field, el("datalist", { id }, ...options));
}

function range({ name, kind }, state, changed) {
  const given = state.where[name] ?? {};
  let waiting = 0;
  const change = () => {
    clearTimeout(waiting);
    if (kind === "number") ask();
    else waiting = setTimeout(ask, PAUSE);
  };
  const ask = () => {
    const bounds = {};
    if (low.value !== "") bounds.gte = asked(kind, low.value);
    if (high.value !== "") bounds.lte = asked(kind, high.value);
    changed(name, bounds);
  };
  const bound = (label, value) => el("input", { type: RANGES[kind], step: "any", label: `${name} ${label}`, onchange: change,
    value: value === undefined ? "" : shownInField(kind, value) });
  const low = bound("from", given.gte);
  const high = bound("to", given.lte);
  const fields = kind === "number" ? [low, " – ", high] : [el("label", {}, soft("from"), low), el("label", {}, soft("to"), high)];
  return el("fieldset", { className: `range ${kind}` }, el("legend", {}, kind === "instant" ? `${name} (${zone()})` : name), ...fields);
}

// Instants are asked for in UTC, so that an address means the same to everybody; fields show the reader's own time.
function asked(kind, text) {
  if (kind === "instant") return new Date(text).toISOString();
  return kind === "number" && /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}

function shownInField(kind, value) {
  if (kind !== "instant") return value;
  const instant = new Date(value);
  return Number.isNaN(instant.getTime()) ? "" : new Date(instant - 60_000 * instant.getTimezoneOffset()).toISOString().slice(0, 19);
}

function zone() {
  const parts = new Intl.DateTimeFormat("en", { timeZoneName: "shortOffset" }).formatToParts();
  return `your time, ${parts.find(({ type }) => type === "timeZoneName").value}`;
}
