// The panel beside the map: one document under the pointer, a search, a topic, and lists of them.

import { colourOf, DocumentMap } from "./canvas.js";

export const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
export const phone = matchMedia("(max-width: 640px)");
const HITS = 100;

export const state = { query: "", topic: null };
let head, ids, texts, lower;

export function fill(...given) { [head, ids, texts] = given; }

export const map = new DocumentMap($("map"), {
  onPoint: showTip,
  onPress: (i) => map.point(i, true),
  onTopic: choose,
  room: () => { // the part of the window that the panel leaves
    const panel = $("panel").getBoundingClientRect();
    const left = phone.matches ? 0 : panel.right, top = phone.matches ? panel.top + Math.min(panel.height, 130) : 0;
    return { left, top, width: innerWidth - left, height: innerHeight - top };
  },
  reserved: () => [$("panel").getBoundingClientRect(), $("tools").getBoundingClientRect()],
  textOf: (i) => texts[i],
});

function showTip(i, isPinned) {
  const tip = $("tip");
  tip.hidden = i < 0;
  tip.classList.toggle("pinned", isPinned);
  if (i < 0) return;
  const name = element("div", "topic", dot(map.topicAt(i)), text("span", map.topicAt(i).label));
  tip.replaceChildren(name, element("div", "text", ...marked(texts[i])), text("div", ids[i], "id"));
  const [px, py] = map.onScreen(i);
  const left = px + 16 + tip.offsetWidth > innerWidth - 8 ? px - 16 - tip.offsetWidth : px + 16;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, Math.min(py - 16, innerHeight - tip.offsetHeight - 8))}px`;
}

const terms = () => state.query.toLowerCase().split(/\s+/).filter(Boolean);

export function select() {
  const words = terms(), { count, topicOf } = map;
  if (words.length) lower ??= texts.map((body, i) => `${body}\n${ids[i]}`.toLowerCase());
  const isWanted = (_, i) => (state.topic === null || topicOf[i] === state.topic) && words.every((word) => lower[i].includes(word));
  map.select(words.length || state.topic !== null ? new Uint8Array(count).map(isWanted) : null);
  list();
  remember();
}

export function choose(index) {
  state.topic = index;
  if (index !== null) map.flyTo(index);
  select();
}

function remember() { // the address holds the search and the topic, so that it can be passed on
  const wanted = new URLSearchParams();
  if (state.query) wanted.set("q", state.query);
  if (state.topic !== null) wanted.set("topic", map.topics[state.topic].topic);
  try { history.replaceState(null, "", `#${wanted}`); } catch { /* some viewers refuse */ }
}

export function recall() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  state.query = $("query").value = wanted.get("q") ?? "";
  const found = map.topics.findIndex((topic) => String(topic.topic) === wanted.get("topic"));
  if (found >= 0) choose(found); else select();
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
const text = (name, content, className) => element(name, className, content);

function dot(topic) {
  const made = element("span", "dot");
  made.style.background = colourOf(topic);
  return made;
}

function button(className, action, ...children) {
  const made = element("button", className, ...children);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

function marked(body) {
  const words = terms();
  if (!words.length) return [body];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return body.split(new RegExp(`(${escaped.join("|")})`, "i")).map((part, i) => (i % 2 ? text("mark", part) : part));
}

const entry = (topic, index, size) =>
  button("entry", () => choose(index), dot(topic), text("span", topic.label, "name"), text("span", number.format(size), "size"));

function hit(i) {
  const name = element("span", "id", dot(map.topicAt(i)), ids[i]);
  return button("hit", () => { map.fly(map.xs[i], map.ys[i], Math.max(map.view.zoom, 3)); map.point(i, true); }, name, element("span", "text", ...marked(texts[i])));
}

function hits() {
  const found = [];
  for (let i = 0; i < map.count && found.length < HITS; i++) if (map.match[i]) found.push(hit(i));
  if (map.matches > HITS) found.push(text("p", `and ${number.format(map.matches - HITS)} more`, "note"));
  return found;
}

function byRegion() { // the largest region first; its topics when it is opened
  const { topics, regions } = map;
  const size = (region) => region.topics.reduce((sum, index) => sum + topics[index].size, 0);
  return [...regions].sort((a, b) => size(b) - size(a)).map((region) => element("details", "region",
    element("summary", "", text("span", region.label, "name"), text("span", number.format(size(region)), "size")),
    ...region.topics.map((index) => entry(topics[index], index, topics[index].size))));
}

function byTopic() {
  const found = [...map.inTopic.entries()].filter(([, size]) => size).sort((a, b) => b[1] - a[1]);
  return found.slice(0, 8).map(([index, size]) => entry(map.topics[index], index, size));
}

export function list() {
  const searched = terms().length > 0;
  $("count").textContent = searched ? `${number.format(map.matches)} of ${number.format(map.count)} documents match` : "";
  let content;
  if (state.topic !== null) {
    const topic = map.topics[state.topic], share = (100 * topic.size / head.documents).toFixed(1);
    const words = topic.words.map((word) => button("", () => { $("query").value = state.query = word; choose(null); }, word));
    content = [
      button("back", () => choose(null), "← all topics"),
      element("h2", "", dot(topic), text("span", topic.label)),
      text("p", `topic ${topic.topic} · ${number.format(topic.size)} documents (${share} %)` +
        (topic.shown < topic.size ? ` · ${number.format(topic.shown)} on the map` : ""), "note"),
      element("div", "words", ...words), ...hits(),
    ];
  } else if (searched) {
    const found = byTopic();
    content = [...(found.length ? [text("h3", "TOPICS"), ...found] : []), ...(map.matches ? [text("h3", "DOCUMENTS")] : []), ...hits()];
  } else content = map.regions.length ? byRegion() : map.topics.map((topic, index) => entry(topic, index, topic.size));
  $("list").replaceChildren(...content);
  $("list").scrollTop = 0;
}

export function introduce() {
  const outside = (100 * head.outliers / Math.max(head.documents, 1)).toFixed(0);
  $("title").textContent = head.title;
  $("facts").textContent = `${number.format(head.topics.length)} topics · ${number.format(head.documents)} documents` +
    ` · ${outside} % in none` + (head.shown < head.documents ? ` · ${number.format(head.shown)} shown` : "");
  $("facts").title = $("facts").textContent;
  if (matchMedia("(hover: hover)").matches) $("query").placeholder += "  ( / )";
}

export function fold(folded) {
  $("panel").classList.toggle("folded", folded);
  $("fold").setAttribute("aria-expanded", String(!folded));
  $("fold").textContent = folded ? "Topics" : "Hide";
  map.redraw();
}
