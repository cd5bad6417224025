// Moving about: pointer, fingers, wheel and keys.

function zoomAt(px, py, factor) {
  const at = frameOf(), [x, y] = toMap(at, px, py);
  view.zoom = Math.min(MAX_ZOOM, Math.max(0.6, view.zoom * factor));
  const now = frameOf();
  [view.x, view.y] = [x - (px - now.left) / now.scale, y - (py - now.top) / now.scale];
  redraw();
}

let flight = 0;
function fly(x, y, zoom) {
  cancelAnimationFrame(flight);
  const from = { ...view }, start = performance.now(), takes = still.matches ? 0 : 450;
  const step = (now) => {
    const t = takes ? Math.min(1, Math.max(0, now - start) / takes) : 1, eased = 1 - (1 - t) ** 3;
    view.zoom = from.zoom * (zoom / from.zoom) ** eased;
    const way = Math.abs(zoom - from.zoom) > 1e-6 ? (1 / from.zoom - 1 / view.zoom) / (1 / from.zoom - 1 / zoom) : eased;
    [view.x, view.y] = [from.x + (x - from.x) * way, from.y + (y - from.y) * way];
    draw();
    if (state.hover >= 0 && t === 1) { const i = state.hover; state.hover = -1; point(i, state.pinned); }
    if (t < 1) flight = requestAnimationFrame(step);
  };
  step(start);
}
const showAll = () => fly(span.x, span.y, 1);
const zoomBy = (factor) => { const { left, top } = frameOf(); zoomAt(left, top, factor); };
const pan = (dx, dy) => { const { scale } = frameOf(); view.x -= dx / scale; view.y -= dy / scale; redraw(); };

function hover(event) {
  if (event.pointerType === "mouse" && !state.pinned) point(nearest(event.clientX, event.clientY));
}

function listen() {
  const fingers = new Map();
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    cancelAnimationFrame(flight);
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    moved = fingers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return hover(event);
    const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    moved += Math.hypot(dx, dy);
    if (other) {
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
      zoomAt((event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2, apart(event) / apart(before));
      pan(dx / 2, dy / 2);
    } else if (moved > 4) {
      canvas.classList.add("moving");
      point(-1);
      pan(dx, dy);
    }
    return fingers.set(event.pointerId, event);
  });
  $("labels").addEventListener("pointermove", hover); // a label hides no document under it
  const lift = (event) => {
    fingers.delete(event.pointerId);
    canvas.classList.remove("moving");
    if (event.type === "pointerup" && moved <= 4) point(nearest(event.clientX, event.clientY), true);
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { if (!state.pinned) point(-1); });
  canvas.addEventListener("dblclick", (event) => zoomAt(event.clientX, event.clientY, 2));
  document.addEventListener("wheel", (event) => {
    if (event.target.closest?.("#panel, #tip.pinned")) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    if (!state.pinned) point(-1);
    cancelAnimationFrame(flight);
    zoomAt(event.clientX, event.clientY, Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * (event.ctrlKey ? 0.01 : 0.0022)));
  }, { passive: false });
  document.addEventListener("keydown", key);
  let wait = 0;
  $("query").addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => { state.query = $("query").value; fold(false); select(); }, count > 20000 ? 150 : 40);
  });
  $("fold").addEventListener("click", () => fold(!$("panel").classList.contains("folded")));
  $("in").addEventListener("click", () => zoomBy(1.6));
  $("out").addEventListener("click", () => zoomBy(1 / 1.6));
  $("all").addEventListener("click", showAll);
  addEventListener("resize", () => { turn(); redraw(); });
  addEventListener("hashchange", recall);
  dark.addEventListener("change", () => { list(); redraw(); });
}

function key(event) {
  if (event.key === "Escape") {
    if (state.hover >= 0) return point(-1);
    if (!state.query) canvas.focus();
    $("query").value = state.query = "";
    return choose(null);
  }
  if (event.target === $("query") || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
  if (event.key === "/") { fold(false); $("query").focus(); }
  else if (event.key === "+" || event.key === "=") zoomBy(1.4);
  else if (event.key === "-") zoomBy(1 / 1.4);
  else if (event.key === "0") showAll();
  else if (moves[event.key] && !event.target.closest?.("#panel")) pan(...moves[event.key]);
  else return undefined;
  return event.preventDefault();
}

async function main() {
  await load();
  introduce();
  fold(phone.matches);
  turn();
  makeLabels();
  listen();
  recall();
  document.documentElement.dataset.ready = "true";
}

main().catch((error) => { $("facts").textContent = `This browser cannot draw the map: ${error.message}`; });
