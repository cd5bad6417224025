// The map beside the results, where a table has topics: hits are lit up, a click opens a document. It is loaded when it
// is first seen, after the first results. Whatever it shows is in the lists, too.

import { $, button, count, el } from "./dom.js";
import { ask, get } from "./service.js";

const REST = 150; // milliseconds on a point before its text is asked for
const LETTERS = 240;
const AGAIN = 5000; // milliseconds until a map that is being drawn is asked for again

let map = null;
let asked = null; // { table, hits, topic, open, choose }: what the page shows, and how another document or topic is chosen
let shown = null; // { table, ids, places, head }: what the map shows
let selected = -1; // the position of a topic
let begun = null; // the loading of what it takes
let resting = 0;

export function showMap(table, hits, topic, { open, choose }) {
  if (asked === null) $("map").open = matchMedia("(min-width: 1200px)").matches;
  asked = { table, hits, topic, open, choose };
  follow();
}

async function follow() {
  if (!$("map").open || !asked || $("topics").hidden) return;
  begun ??= prepare();
  try {
    const readMap = await begun;
    if (shown?.table !== asked.table) await load(asked.table, readMap);
    if (shown?.table !== asked.table) return; // another table was chosen meanwhile
    light();
    select();
  } catch (error) {
    begun = null;
    $("map-facts").textContent = error.message;
  }
}

async function prepare() {
  const room = el("div", { id: "map-room", className: "map" });
  const canvas = el("canvas", { tabIndex: 0, role: "img" });
  canvas.style.visibility = "hidden"; // it is opaque, and black until something is drawn
  const labels = el("div", { className: "labels", ariaHidden: "true" });
  const tools = el("div", { id: "map-tools" },
    button("+", () => map.zoomBy(1.6), { label: "Zoom in" }), button("−", () => map.zoomBy(1 / 1.6), { label: "Zoom out" }),
    button("⤢", () => map.showAll(), { label: "Show all of the map" }));
  room.append(canvas, labels, el("div", { className: "ring", hidden: true }));
  const summary = $("map").querySelector("summary");
  $("map").replaceChildren(summary, el("p", { id: "map-facts", role: "status" }, "Loading the map…"),
    el("div", { id: "map-frame" }, room, tools, el("div", { id: "map-tip", role: "tooltip", hidden: true })));
  const [{ DocumentMap, readMap }, { listen, moveByKey }] = await Promise.all([
    import("./canvas.js"), import("./gestures.js"), style("canvas.css"), style("map.css")]);
  map = new DocumentMap(room, {
    onPoint: showTip, onPress: openPoint, onTopic: (index) => asked.choose(map.topics[index].topic),
    reserved: () => [{ left: tools.offsetLeft, top: tools.offsetTop, width: tools.offsetWidth, height: tools.offsetHeight }],
  });
  listen(map);
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") map.point(-1);
    else moveByKey(map, event);
  });
  return readMap;
}

const style = (name) => new Promise((done, failed) => {
  document.head.append(el("link", { rel: "stylesheet", href: `/web/${name}`, onload: done, onerror: failed }));
});

async function load(table, readMap) {
  const bytes = await drawn(table);
  if (table !== asked.table) return;
  const size = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
  shown = { table, head, ids: head.ids, places: new Map(head.ids.map((id, place) => [id, place])) };
  selected = -1;
  map.show(readMap(head, bytes, 4 + size));
  map.canvas.style.visibility = "";
  map.canvas.setAttribute("aria-label", `Map of ${count(head.shown, "document")}, each a point in the colour of its topic. `
    + "Arrow keys move, plus and minus zoom, 0 shows all. Results and topics are in the lists.");
}

async function drawn(table) {
  const read = (answer) => (answer.status === 202 ? null : answer.arrayBuffer());
  const bytes = await ask(`/map?${new URLSearchParams({ table })}`, { read });
  if (bytes !== null || table !== asked.table) return bytes;
  $("map-facts").textContent = "The map is being drawn…";
  await new Promise((done) => { setTimeout(done, AGAIN); });
  return drawn(table);
}

function light() {
  const found = asked.hits.map((hit) => shown.places.get(hit.id)).filter((place) => place !== undefined);
  map.light(found);
  const { head } = shown, all = asked.hits.length;
  $("map-facts").textContent = all ? `${found.length} of ${count(all, "result")} on the map`
    : `${head.shown < head.documents ? `${head.shown} of ` : ""}${count(head.documents, "document")}`;
}

function select() {
  const index = map.topics.findIndex(({ topic }) => topic === asked.topic);
  if (index === selected) return;
  selected = index;
  map.select(index < 0 ? null : new Uint8Array(map.count).map((_, i) => map.topicOf[i] === index));
  if (index >= 0) map.flyTo(index);
}

function openPoint(i) {
  if (i >= 0) asked.open(shown.ids[i]);
}

function showTip(i) {
  const tip = $("map-tip");
  clearTimeout(resting);
  tip.hidden = i < 0;
  if (i < 0) return;
  tip.replaceChildren(el("strong", {}, map.topicAt(i).label), el("span", { className: "soft" }, shown.ids[i]));
  const [px, py] = map.onScreen(i), { width, height } = map;
  tip.style.left = `${Math.max(4, px + 16 + tip.offsetWidth > width ? px - 16 - tip.offsetWidth : px + 16)}px`;
  tip.style[py > height / 2 ? "bottom" : "top"] = `${(py > height / 2 ? height - py : py) + 8}px`;
  tip.style[py > height / 2 ? "top" : "bottom"] = "auto";
  resting = setTimeout(() => quote(i), REST);
}

async function quote(i) {
  const { rows } = await get(`/documents/${encodeURIComponent(shown.ids[i])}`, { table: shown.table }).catch(() => ({ rows: [{}] }));
  const { text } = rows[0];
  if (map.hover === i && text) $("map-tip").append(el("p", {}, text.length > LETTERS ? `${text.slice(0, LETTERS)}…` : text));
}

$("map").addEventListener("toggle", follow);
