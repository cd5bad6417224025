// Topics to browse, where the table has them.

import { $, button, count, el } from "./dom.js";
import { get } from "./service.js";

export async function showTopics(table, open) {
  const found = await get("/topics", { table }).catch(() => null);
  $("topics").hidden = found === null;
  $("topic-shown").hidden = true;
  if (found === null) return;
  $("topic-facts").textContent = `${count(found.topics.length, "topic")} of ${count(found.documents, "document")}`;
  const entry = (view) => button(view.label, () => showTopic(table, view.topic, open), { label: `Topic ${view.label}` });
  $("topic-list").replaceChildren(...found.topics.map((view) =>
    el("li", {}, entry(view), el("span", { className: "soft" }, String(view.size)))));
  const names = new Map(found.topics.map((view) => [view.topic, view.label]));
  const told = (topic) => (topic === null ? "" : ` ${names.get(topic) ?? topic}`);
  $("events").replaceChildren(...found.events.map((event) => el("li", {}, `${event.event}:${told(event.topic)}`)));
}

// Whoever shows topics in another way listens for it; null: none is chosen any more.
const tell = (topic) => document.dispatchEvent(new CustomEvent("topic", { detail: topic }));

export async function showTopic(table, topic, open) {
  tell(topic);
  const view = await get(`/topics/${topic}`, { table, examples: 5 });
  const words = view.words.slice(0, 8).map(([word]) => word).join(", ");
  const back = button("All topics", () => { $("topic-shown").hidden = true; $("topic-list").hidden = false; tell(null); });
  $("topic-shown").replaceChildren(back, el("h3", {}, view.label), el("p", {}, words),
    el("ul", {}, ...view.examples.map((example) => el("li", {}, button(example.text ?? example.id, () => open(example.id))))));
  $("topic-shown").hidden = false;
  $("topic-list").hidden = true;
  back.focus();
}
