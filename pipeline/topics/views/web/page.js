// The page of a map: its data, which are inside of it, and what the whole window listens to.

import { dark, readMap } from "./canvas.js";
import { listen, moveByKey } from "./gestures.js";
import { $, choose, fill, fold, introduce, list, map, phone, recall, select, state } from "./panel.js";

async function unpack(id) {
  const packed = Uint8Array.from(atob($(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function listenToWindow() {
  let wait = 0;
  $("query").addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { state.query = $("query").value; fold(false); select(); }, map.count > 20000 ? 150 : 40);
  });
  $("fold").addEventListener("click", () => fold(!$("panel").classList.contains("folded")));
  $("in").addEventListener("click", () => map.zoomBy(1.6));
  $("out").addEventListener("click", () => map.zoomBy(1 / 1.6));
  $("all").addEventListener("click", () => map.showAll());
  document.addEventListener("keydown", key);
  addEventListener("hashchange", recall);
  dark.addEventListener("change", list);
}

function key(event) {
  if (event.key === "Escape") {
    if (map.hover >= 0) return map.point(-1);
    if (!state.query) map.canvas.focus();
    $("query").value = state.query = "";
    return choose(null);
  }
  if (event.target === $("query")) return undefined;
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey) {
    fold(false);
    $("query").focus();
    return event.preventDefault();
  }
  return event.target.closest?.("#panel") && event.key.startsWith("Arrow") ? undefined : moveByKey(map, event);
}

async function main() {
  const head = JSON.parse($("head").textContent);
  const { ids, texts } = JSON.parse(new TextDecoder().decode(await unpack("texts")));
  fill(head, ids, texts);
  introduce();
  fold(phone.matches);
  map.show(readMap(head, await unpack("points")));
  listen(map);
  listenToWindow();
  recall();
  document.documentElement.dataset.ready = "true";
}

main().catch((error) => { $("facts").textContent = `This browser cannot draw the map: ${error.message}`; });
