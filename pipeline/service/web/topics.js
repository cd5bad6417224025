// Topics beside the results, where the table has them: their list, and what is shown of all or of the chosen one.

import { $, button, count, digits, el, soft } from "./dom.js";
import { get } from "./service.js";

const NAMED = 6;
let shownView = "";

export const viewOf = ({ over, by }) => (over !== null ? `over:${over}` : by !== null ? `by:${by}` : "");

export async function showTopics(table, choose) {
  $("topics").hidden = table.topics === null;
  $("topic-list").replaceChildren();
  $("events").replaceChildren();
  if (table.topics === null) return;
  offerViews(table.kept);
  const found = await get("/topics", { table: table.table, words: 0 });
  $("topic-facts").textContent = `${count(found.topics.length, "topic")} of ${count(found.documents, "document")}, ${digits(found.outliers)} in none`;
  $("topic-list").replaceChildren(...found.topics.map((topic) => {
    const entry = button(topic.label, () => choose(topic.topic), { label: `Topic ${topic.label}, ${count(topic.size, "document")}` });
    entry.dataset.topic = topic.topic;
    return el("li", {}, entry, soft(digits(topic.size)));
  }));
  const names = new Map(found.topics.map((topic) => [topic.topic, topic.label]));
  $("events").replaceChildren(...(found.version === 1 ? [] : news(found.events, names)));
}

// What changed against the version before: what goes on is no news.
function news(events, names) {
  const kinds = [...new Set(events.map(({ event }) => event))].filter((kind) => kind !== "continued");
  return kinds.map((kind) => {
    const topics = events.filter(({ event }) => event === kind).map(({ topic }) => names.get(topic) ?? `topic ${topic}`);
    const more = topics.length > NAMED ? ` and ${topics.length - NAMED} more` : "";
    return el("li", {}, `${kind}: ${topics.slice(0, NAMED).join("; ")}${more}`);
  });
}

function offerViews(kept) {
  const options = (kind, words) => kept.filter((column) => column[kind]).map(({ name }) => el("option", { value: `${kind}:${name}` }, `${words} ${name}`));
  const offered = [...options("over", "over"), ...options("by", "by")];
  $("view").replaceChildren(el("option", { value: "" }, "words and history"), ...offered);
  $("view-choice").hidden = offered.length === 0;
}

export function markTopic(state) {
  $("view").value = viewOf(state);
  for (const entry of $("topic-list").querySelectorAll("button")) {
    if (entry.dataset.topic === String(state.topic)) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
  }
}

// The topic that is chosen, or all of them over or by a column, above the results. Its scripts come when it is asked for.
export async function showView(table, state, actions) {
  const isAsked = table.topics !== null && (state.topic !== null || viewOf(state) !== "");
  const asked = isAsked ? JSON.stringify([table.table, table.topics.version, state.topic, viewOf(state)]) : "";
  if (asked === shownView) return;
  shownView = asked;
  $("topic").hidden = !isAsked;
  if (!isAsked) return;
  $("topic-body").setAttribute("aria-busy", "true");
  const { topicView } = await import("./topic.js");
  const { name, parts } = await topicView(table, state, actions).catch((error) => ({ name: "Topics", parts: [el("p", { className: "error" }, error.message)] }));
  if (asked !== shownView) return;
  $("topic-name").textContent = name;
  $("topic-body").replaceChildren(...parts);
  $("topic-body").removeAttribute("aria-busy");
}
