// Counts of topics over and by a column, as tables with bars.

import { bar, columns } from "./charts.js";
import { button, count, digits, el, percent } from "./dom.js";

const NONE = -1;
const ROWS = 20;
const LEADING = 3;

// Over time: the intervals of one topic, or a line of columns for each topic.
export function overTable({ column, starts, documents, topics, counted }, topic, nameOf, choose) {
  const names = intervalNames(starts);
  const shares = (counts) => counts.map((value, place) => value / Math.max(documents[place], 1));
  if (topic !== null) {
    const { counts } = topics.find((each) => each.topic === topic) ?? { counts: starts.map(() => 0) };
    const top = Math.max(...counts, 1);
    const share = shares(counts);
    const rows = names.map((name, place) => [name, amount(counts[place], top), documents[place] ? percent(share[place]) : "–"]);
    return table(`By ${column}: ${counted} of this topic`, [column, capital(counted), "Of all then"], rows);
  }
  const line = (name, values, written, last) => [name, columns(values, `${values.map((value, place) => `${names[place]}: ${written(value)}`).join(", ")}`), last];
  const largest = Math.max(...documents);
  const all = line("All", documents, digits, `up to ${digits(largest)}`);
  const rows = topics.filter((each) => each.topic !== NONE).map(({ topic: id, counts }) => {
    const share = shares(counts);
    const peak = Math.max(...share);
    return line(button(nameOf(id), () => choose(id)), share, percent, peak ? `${percent(peak)} in ${names[share.indexOf(peak)]}` : "none");
  });
  return table(`Shares of topics by ${column}, ${names[0]} to ${names.at(-1)}`, ["Topic", "Share", "Most"], [all, ...rows]);
}

// By a column: the values of one topic against the whole, or each value with the topics that are more frequent in it.
export function byTable({ column, values, counted, left_out: leftOut }, topic, nameOf, choose) {
  const more = leftOut ? [el("p", { className: "soft" }, `${count(leftOut, "rarer value")} left out.`)] : [];
  if (topic !== null) {
    const found = values.map(({ value, topics }) => ({ value, ...topics.find((each) => each.topic === topic) })).filter((each) => each.count);
    found.sort((a, b) => b.count - a.count);
    const rows = found.map(({ value, count: size, share, lift }) => [named(value), digits(size), el("span", { className: "amount" }, bar(share), percent(share)), times(lift)]);
    return el("div", {}, table(`By ${column}: share of this topic`, [column, capital(counted), "Share", "Against all"], rows), ...more);
  }
  const top = Math.max(...values.map(({ documents }) => documents));
  const rows = values.map(({ value, documents, topics }) => [named(value), amount(documents, top), el("ul", { className: "leading" },
    ...leading(topics).map(({ topic: id, lift }) => el("li", {}, button(nameOf(id), () => choose(id)), ` ${times(lift)}`)))]);
  return el("div", {}, table(`Topics by ${column}`, [column, capital(counted), "More frequent than usual"], rows), ...more);
}

const leading = (topics) => topics.filter(({ topic, lift }) => topic !== NONE && lift > 1)
  .sort((a, b) => b.share * Math.log(b.lift) - a.share * Math.log(a.lift)).slice(0, LEADING);

const times = (lift) => `×\u00a0${lift.toFixed(lift < 9.95 ? 1 : 0)}`;
const named = (value) => (typeof value === "string" ? value : String(value));
const capital = (word) => word[0].toUpperCase() + word.slice(1);
const amount = (value, top) => el("span", { className: "amount" }, bar(value / top), digits(value));

// The first rows, and a button for the others.
function table(caption, head, rows) {
  const made = rows.map(([first, ...others]) => el("tr", {}, el("th", { scope: "row" }, first), ...others.map((each) => el("td", {}, each))));
  const body = el("tbody", {}, ...made.slice(0, ROWS));
  const names = head.map((name) => el("th", { scope: "col" }, name));
  const all = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...names)), body);
  if (rows.length <= ROWS) return all;
  const rest = button(`Show all ${rows.length}`, () => { body.append(...made.slice(ROWS)); rest.remove(); made[ROWS].querySelector("button")?.focus(); });
  return el("div", {}, all, rest);
}

// Beginnings of intervals, as short as they can be.
function intervalNames(starts) {
  const names = starts.map(String);
  const rest = ["-01-01T00:00:00Z", "-01T00:00:00Z", "T00:00:00Z", ":00Z"].find((end) => names.every((name) => name.endsWith(end))) ?? "";
  return names.map((name) => name.slice(0, name.length - rest.length).replace("T", " "));
}
