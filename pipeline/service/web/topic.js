// One topic in words, sizes and examples; beside it, or for all topics, the counts over or by a column.

import { byTable, overTable } from "./breakdown.js";
import { bar, columns } from "./charts.js";
import { $, button, count, digits, el, percent, soft } from "./dom.js";
import { get } from "./service.js";

const WORDS = 10;
const EXAMPLES = 3;
const VALUES = 50;
const MADE = { fit: "fitted", refit: "fitted anew", assign: "documents added", births: "new topics found", label: "named", merge: "topics merged", reduce: "topics reduced" };
const day = new Intl.DateTimeFormat("en", { dateStyle: "medium" });

export async function topicView(table, { topic, over, by }, actions) {
  const [detail, counted] = await Promise.all([
    topic === null ? null : get(`/topics/${topic}`, { table: table.table, examples: EXAMPLES }),
    over !== null ? get("/topics/over", { column: over, table: table.table })
      : by !== null ? get("/topics/by", { column: by, most: VALUES, table: table.table }) : null,
  ]);
  const labels = new Map([...$("topic-list").querySelectorAll("button")].map((entry) => [Number(entry.dataset.topic), entry.textContent]));
  const nameOf = (id) => labels.get(id) ?? `topic ${id}`;
  const counts = counted && (over !== null ? overTable : byTable)(counted, topic, nameOf, actions.choose);
  if (detail === null) return { name: "All topics", parts: [counts] };
  const parts = [el("p", { className: "soft" }, `${count(detail.size, "document")}, ${percent(detail.share)} of all`)];
  if (counts) parts.push(counts);
  parts.push(el("div", { className: "about" },
    el("div", {}, el("h3", {}, "Words"), ...words(detail)),
    el("div", {}, el("h3", {}, "History"), ...history(detail, nameOf),
      el("h3", {}, "Typical documents"), examples(detail, actions.open))));
  return { name: detail.label, parts };
}

function words({ words: weighted, keywords }) {
  const top = weighted[0]?.[1] || 1;
  const list = weighted.slice(0, WORDS).map(([word, weight]) => el("li", {}, el("span", {}, word), bar(weight / top), soft(weight.toFixed(3))));
  const near = keywords.length ? [el("p", { className: "soft" }, `By meaning: ${keywords.slice(0, WORDS).map(([word]) => word).join(", ")}`)] : [];
  return [el("ul", { className: "words" }, ...list), ...near];
}

function history({ history: versions, events, topic, counted }, nameOf) {
  const sizes = versions.map(({ size }) => size);
  const inWords = versions.map(({ version, size }) => `version ${version}: ${digits(size)}`).join(", ");
  const chart = versions.length > 1 ? [columns(sizes, `${counted} by version, ${inWords}`)] : [];
  const lines = versions.map(({ version, created, kind, size }) => {
    const told = events.filter((event) => event.version === version).map((event) => happened(event, topic, nameOf)).filter(Boolean);
    return el("li", {}, `Version ${version}: ${count(size, counted.slice(0, -1))}`, soft(` · ${[day.format(new Date(created)), MADE[kind] ?? kind, ...told].join(" · ")}`));
  });
  return [...chart, el("ol", { className: "history" }, ...lines)];
}

function happened({ event, topic, other }, own, nameOf) {
  if (event === "split") return topic === own ? `split from ${nameOf(other)}` : `${nameOf(topic)} split from it`;
  if (event === "merged") return topic === own ? `merged into ${nameOf(other)}` : `${nameOf(topic)} merged into it`;
  return event === "continued" ? null : event;
}

const examples = ({ examples: found }, open) => el("ul", { className: "examples" },
  ...found.map(({ id, text }) => el("li", {}, button(id, () => open(id), { className: "open" }), text ? el("p", { className: "passage" }, text) : null)));
