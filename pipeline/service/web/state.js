// What is asked, as an address that can be shared.

const EMPTY = { table: null, q: "", mode: "vector", alpha: null, k: 10, page: 0, like: [], unlike: [], where: {},
  topic: null, within: null, over: null, by: null, doc: null };

export const state = structuredClone(EMPTY);

export function readAddress() {
  const given = new URLSearchParams(location.search);
  Object.assign(state, structuredClone(EMPTY), {
    table: given.get("table"),
    q: given.get("q") ?? "",
    mode: ["text", "hybrid"].includes(given.get("mode")) ? given.get("mode") : "vector",
    alpha: given.has("alpha") && Number(given.get("alpha")) >= 0 ? Number(given.get("alpha")) : null,
    k: [10, 20, 50, 100].includes(Number(given.get("k"))) ? Number(given.get("k")) : 10,
    page: Math.max(0, Math.floor(Number(given.get("page")) || 0)),
    like: given.getAll("like"),
    unlike: given.getAll("unlike"),
    where: conditions(given.get("where")),
    topic: /^\d+$/.test(given.get("topic")) ? Number(given.get("topic")) : null,
    within: given.get("within"),
    over: given.get("over"),
    by: given.has("over") ? null : given.get("by"),
    doc: given.get("doc"),
  });
}

function conditions(text) {
  try {
    const read = JSON.parse(text);
    return read && typeof read === "object" && !Array.isArray(read) ? read : {};
  } catch {
    return {};
  }
}

export function writeAddress(change) {
  Object.assign(state, change);
  const given = new URLSearchParams();
  for (const name of Object.keys(EMPTY)) {
    const value = state[name];
    if (JSON.stringify(value) === JSON.stringify(EMPTY[name])) continue;
    if (Array.isArray(value)) value.forEach((one) => given.append(name, one));
    else given.set(name, typeof value === "object" ? JSON.stringify(value) : value);
  }
  const address = `${location.pathname}${given.size ? "?" : ""}${given}`;
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

// The body of a search, or null where nothing is asked.
export function question() {
  const likes = state.like.length > 0;
  const asksWords = state.q.trim() !== "";
  if (!likes && !asksWords) return null;
  const mode = asksWords ? state.mode : "vector";
  return clean({
    table: state.table,
    query: asksWords && !(likes && mode === "vector") ? state.q : null,
    like: mode === "text" ? null : state.like,
    unlike: mode === "text" ? null : state.unlike,
    mode,
    alpha: mode === "text" ? null : state.alpha,
    k: state.k,
    offset: state.page * state.k,
    where: state.where,
    topic: state.within ? state.topic : null,
  });
}

function clean(fields) {
  const isSet = (value) => value !== null && (typeof value !== "object" || Object.keys(value).length > 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => isSet(value)));
}
