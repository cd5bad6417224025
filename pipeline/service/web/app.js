// The page: what people do changes the address, and the address says what is asked and shown.

import { showDocument } from "./document.js";
import { $, button, count, el } from "./dom.js";
import { showFilters } from "./filters.js";
import { asCsv, save, showHits } from "./hits.js";
import { showMap } from "./map.js";
import { ask, get } from "./service.js";
import { question, readAddress, state, writeAddress } from "./state.js";
import { markTopic, showTopics, showView } from "./topics.js";

let tables = [];
let table = null;
let hits = [];
let running = null;
let answered = null; // the question whose answer is shown: a document opens beside it without asking again

const tell = (text, isError = false) => {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
};

function go(change) {
  writeAddress({ page: 0, ...change });
  return show();
}

async function show(isOtherAddress = false) {
  document.documentElement.removeAttribute("data-ready");
  const isOtherTable = await chooseTable();
  if (isOtherAddress && !isOtherTable) await filters();
  fillForm();
  await Promise.all([search(), showDocument(table, state.doc), showView(table, state, { open, choose })]);
  showMap(table.table, hits, state.topic, { open, choose });
  document.documentElement.dataset.ready = "yes";
}

async function chooseTable() {
  const wanted = tables.find((each) => each.table === state.table) ?? tables[0];
  if (wanted === table) return false;
  table = wanted;
  document.title = $("title").textContent = `Search ${table.table}`;
  await Promise.all([showTopics(table, choose).catch((error) => tell(error.message, true)), filters()]);
  return true;
}

const filters = () => showFilters(table, state, (name, condition) => {
  const where = { ...state.where, [name]: condition };
  if (Object.keys(condition).length === 0) delete where[name];
  go({ where });
});

function fillForm() {
  state.table = tables.length > 1 ? table.table : null;
  for (const option of $("mode").options) option.hidden = option.disabled = !table.modes.includes(option.value);
  if (!table.modes.includes(state.mode)) state.mode = table.modes[0] ?? "vector";
  $("mode-choice").hidden = table.modes.length < 2;
  const { combine, alpha } = table.spec;
  markTopic(state);
  $("filter-clear").hidden = Object.keys(state.where).length === 0;
  $("table").value = table.table;
  $("query").value = state.q;
  $("mode").value = state.mode;
  $("within").checked = state.within !== null;
  $("within-choice").hidden = question() === null;
  $("k").value = String(state.k);
  $("alpha-choice").hidden = combine !== "sum";
  $("alpha").value = String(state.alpha ?? alpha ?? 1);
  $("alpha-value").textContent = Number($("alpha").value).toFixed(1);
  const chip = (name, sign) => (id) => el("li", { className: name },
    button(`${sign} ${id} ✕`, () => go({ [name]: state[name].filter((each) => each !== id) }), { label: `Remove ${name} ${id}` }));
  $("chips").replaceChildren(...state.like.map(chip("like", "+")), ...state.unlike.map(chip("unlike", "−")));
}

async function search() {
  const asked = question();
  const asking = JSON.stringify([table.table, asked]);
  if (asking === answered) return;
  running?.abort();
  answered = null;
  hits = [];
  if (asked === null) {
    showHits([], [], [], {});
    $("pages").hidden = $("export").hidden = true;
    tell(state.unlike.length ? "Choose a document to be like, or type words." : welcome());
    return;
  }
  const mine = (running = new AbortController());
  tell("Searching…");
  try {
    const answer = await ask("/search", { body: asked, signal: mine.signal });
    hits = answer.hits;
    showHits(hits, answer.marks, table.kept.map(({ name }) => name), { open, like, unlike });
    answered = asking;
    tell(hits.length ? `Results ${asked.offset + 1} to ${asked.offset + hits.length}` : nothing());
  } catch (error) {
    if (mine.signal.aborted) return;
    showHits([], [], [], {});
    tell(error.message, true);
  }
  $("export").hidden = hits.length === 0;
  $("pages").hidden = state.page === 0 && hits.length < state.k;
  $("before").disabled = state.page === 0;
  $("after").disabled = hits.length < state.k;
  $("page").textContent = `Page ${state.page + 1}`;
}

function nothing() {
  if (state.page > 0) return "No more results.";
  if (state.within && state.topic !== null) return "Nothing found in this topic.";
  return Object.keys(state.where).length ? "Nothing found under these filters." : "Nothing found.";
}

function welcome() {
  const ways = [table.modes.length && "Type what you look for", table.topics && "choose a topic"].filter(Boolean).join(", or ");
  return `${count(table.rows, "row")} in ${table.table}. ${ways && `${ways[0].toUpperCase()}${ways.slice(1)}.`}`;
}

const open = (id) => go({ doc: id, page: state.page });
const like = (id) => go({ q: state.mode === "hybrid" ? state.q : "", like: [...new Set([...state.like, id])], unlike: state.unlike.filter((each) => each !== id) });
const unlike = (id) => go({
  mode: state.mode === "text" ? "hybrid" : state.mode,
  like: state.like.filter((each) => each !== id),
  unlike: [...new Set([...state.unlike, id])],
});

async function choose(topic) {
  await go({ topic, page: state.within ? 0 : state.page });
  $("topic-name").focus();
}

// First the topic, then the view of all; the focus goes back to where the topic was found.
async function closeView() {
  const left = state.topic;
  await go(left === null ? { over: null, by: null, page: state.page } : { topic: null, within: null });
  ($("topic-list").querySelector(`[data-topic="${left}"]`) ?? $("query")).focus();
}

function chooseView() {
  const [kind, ...column] = $("view").value.split(":");
  go({ over: null, by: null, page: state.page, ...(kind && { [kind]: column.join(":") }) });
}

function keys(event) {
  const isTyping = event.target.matches("input, select, textarea");
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    $("query").focus();
  }
  if ((event.key !== "ArrowDown" && event.key !== "ArrowUp") || (isTyping && event.target !== $("query"))) return;
  const list = [$("query"), ...document.querySelectorAll("#hits .open")];
  const here = list.indexOf(document.activeElement.closest("li")?.querySelector(".open") ?? document.activeElement);
  const next = list[here + (event.key === "ArrowDown" ? 1 : -1)];
  if (here < 0 || !next) return;
  event.preventDefault();
  next.focus();
}

// Examples give way where they cannot be joined with words.
function words(mode) {
  const q = $("query").value;
  if (mode === "text") return { q, mode, like: [], unlike: [] };
  return { q, mode, like: mode === "vector" && q.trim() ? [] : state.like };
}

function wire() {
  $("form").onsubmit = (event) => { event.preventDefault(); answered = null; go(words(state.mode)); };
  $("mode").onchange = () => go(words($("mode").value));
  $("k").onchange = () => go({ k: Number($("k").value) });
  $("alpha").oninput = () => { $("alpha-value").textContent = Number($("alpha").value).toFixed(1); };
  $("alpha").onchange = () => go({ alpha: Number($("alpha").value) });
  $("table").onchange = () => go({ table: $("table").value, where: {}, like: [], unlike: [], alpha: null, topic: null, within: null, over: null, by: null });
  $("filter-clear").onclick = async () => { writeAddress({ page: 0, where: {} }); await show(true); $("query").focus(); };
  $("within").onchange = () => go({ within: $("within").checked ? "yes" : null });
  $("view").onchange = chooseView;
  $("topic-close").onclick = closeView;
  $("before").onclick = () => go({ page: state.page - 1 });
  $("after").onclick = () => go({ page: state.page + 1 });
  $("close").onclick = () => go({ doc: null, page: state.page });
  $("document").oncancel = (event) => { event.preventDefault(); go({ doc: null, page: state.page }); };
  $("csv").onclick = () => save("hits.csv", "text/csv", asCsv(hits));
  $("json").onclick = () => save("hits.json", "application/json", JSON.stringify(hits, null, 2));
  addEventListener("keydown", keys);
  addEventListener("popstate", () => { readAddress(); if (table) show(true); });
}

async function start() {
  readAddress();
  wire();
  try {
    ({ tables } = await get("/tables"));
  } catch (error) {
    tell(error.message, true);
    return;
  }
  $("table").replaceChildren(...tables.map((each) => el("option", {}, each.table)));
  $("table-choice").hidden = tables.length < 2;
  const isWide = matchMedia("(min-width: 900px)").matches;
  $("filters").open = $("topics").open = isWide;
  await show();
}

start();
