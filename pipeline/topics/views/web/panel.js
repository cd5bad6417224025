// The panel: one document under the pointer, a search, a topic, and lists of them.

function nearest(px, py) {
  const at = frameOf(), [x, y] = toMap(at, px, py);
  let best = -1, least = (14 / at.scale) ** 2;
  for (let i = 0; i < count; i++) {
    if (state.match && !state.match[i]) continue;
    const apart = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
    if (apart < least) [best, least] = [i, apart];
  }
  return best;
}

function placeRing(at) {
  $("ring").hidden = state.hover < 0;
  if (state.hover < 0) return;
  const [px, py] = toScreen(at, xs[state.hover], ys[state.hover]);
  $("ring").style.transform = `translate(${px}px, ${py}px)`;
}

function point(i, pinned = false) {
  if (i === state.hover && pinned === state.pinned) return;
  Object.assign(state, { hover: i, pinned: pinned && i >= 0 });
  const tip = $("tip"), at = frameOf();
  canvas.classList.toggle("pointing", i >= 0);
  tip.hidden = i < 0;
  tip.classList.toggle("pinned", state.pinned);
  placeRing(at);
  if (i < 0) return;
  const name = element("div", "topic", dot(topicAt(i)), text("span", topicAt(i).label));
  tip.replaceChildren(name, element("div", "text", ...marked(texts[i])), text("div", ids[i], "id"));
  const [px, py] = toScreen(at, xs[i], ys[i]);
  const left = px + 16 + tip.offsetWidth > innerWidth - 8 ? px - 16 - tip.offsetWidth : px + 16;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, Math.min(py - 16, innerHeight - tip.offsetHeight - 8))}px`;
}

const terms = () => state.query.toLowerCase().split(/\s+/).filter(Boolean);

function select() {
  const words = terms();
  state.match = words.length || state.topic !== null ? new Uint8Array(count) : null;
  state.inTopic = state.match && new Int32Array(topics.length);
  state.matches = 0;
  if (words.length) lower ??= texts.map((body, i) => `${body}\n${ids[i]}`.toLowerCase());
  for (let i = 0; state.match && i < count; i++) {
    const inside = state.topic === null || topicOf[i] === state.topic;
    state.match[i] = inside && words.every((word) => lower[i].includes(word)) ? 1 : 0;
    state.matches += state.match[i];
    if (topicOf[i] >= 0) state.inTopic[topicOf[i]] += state.match[i];
  }
  point(-1);
  list();
  remember();
  redraw();
}

function choose(index) {
  state.topic = index;
  if (index !== null) fly(...frameFor(index));
  select();
}

function frameFor(index) { // the middle and the zoom at which nine tenths of a topic fill half of the room
  const { x, y } = topics[index], apart = [];
  for (let i = 0; i < count; i++) if (topicOf[i] === index) apart.push(Math.max(Math.abs(xs[i] - x), Math.abs(ys[i] - y)));
  apart.sort((a, b) => a - b);
  const reach = Math.max(apart[Math.floor(0.9 * apart.length)] ?? 0.1, 0.01);
  return [x, y, Math.min(12, Math.max(1, 0.22 * Math.min(span.w, span.h) / reach))];
}

function remember() { // the address holds the search and the topic, so that it can be passed on
  const wanted = new URLSearchParams();
  if (state.query) wanted.set("q", state.query);
  if (state.topic !== null) wanted.set("topic", topics[state.topic].topic);
  try { history.replaceState(null, "", `#${wanted}`); } catch { /* some viewers refuse */ }
}

function recall() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  state.query = $("query").value = wanted.get("q") ?? "";
  const found = topics.findIndex((topic) => String(topic.topic) === wanted.get("topic"));
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
  made.style.background = colour(topic);
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
  const name = element("span", "id", dot(topicAt(i)), ids[i]);
  return button("hit", () => { fly(xs[i], ys[i], Math.max(view.zoom, 3)); point(i, true); }, name, element("span", "text", ...marked(texts[i])));
}

function hits() {
  const found = [];
  for (let i = 0; i < count && found.length < HITS; i++) if (state.match[i]) found.push(hit(i));
  if (state.matches > HITS) found.push(text("p", `and ${number.format(state.matches - HITS)} more`, "note"));
  return found;
}

function byRegion() { // the largest region first; its topics when it is opened
  const size = (region) => region.topics.reduce((sum, index) => sum + topics[index].size, 0);
  return [...regions].sort((a, b) => size(b) - size(a)).map((region) => element("details", "region",
    element("summary", "", text("span", region.label, "name"), text("span", number.format(size(region)), "size")),
    ...region.topics.map((index) => entry(topics[index], index, topics[index].size))));
}

function byTopic() {
  const found = [...state.inTopic.entries()].filter(([, size]) => size).sort((a, b) => b[1] - a[1]);
  return found.slice(0, 8).map(([index, size]) => entry(topics[index], index, size));
}

function list() {
  const searched = terms().length > 0;
  $("count").textContent = searched ? `${number.format(state.matches)} of ${number.format(count)} documents match` : "";
  let content;
  if (state.topic !== null) {
    const topic = topics[state.topic], share = (100 * topic.size / head.documents).toFixed(1);
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
    content = [...(found.length ? [text("h3", "TOPICS"), ...found] : []), ...(state.matches ? [text("h3", "DOCUMENTS")] : []), ...hits()];
  } else content = regions.length ? byRegion() : topics.map((topic, index) => entry(topic, index, topic.size));
  $("list").replaceChildren(...content);
  $("list").scrollTop = 0;
}

function introduce() {
  const outside = (100 * head.outliers / Math.max(head.documents, 1)).toFixed(0);
  $("title").textContent = head.title;
  $("facts").textContent = `${number.format(topics.length)} topics · ${number.format(head.documents)} documents` +
    ` · ${outside} % in none` + (count < head.documents ? ` · ${number.format(count)} shown` : "");
  $("facts").title = $("facts").textContent;
  if (matchMedia("(hover: hover)").matches) $("query").placeholder += "  ( / )";
}

function fold(folded) {
  $("panel").classList.toggle("folded", folded);
  $("fold").setAttribute("aria-expanded", String(!folded));
  $("fold").textContent = folded ? "Topics" : "Hide";
  redraw();
}
