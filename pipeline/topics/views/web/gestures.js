// Moving about on a map: pointer, fingers, wheel and keys.

export function listen(map) {
  const { canvas, root } = map, fingers = new Map();
  let moved = 0;
  const place = (event) => {
    const { left, top } = root.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const hover = (event) => {
    if (event.pointerType === "mouse" && !map.isPinned) map.point(map.nearest(...place(event)));
  };
  canvas.addEventListener("pointerdown", (event) => {
    cancelAnimationFrame(map.flight);
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    moved = fingers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    moved += Math.hypot(dx, dy);
    if (other) {
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
      const [[x, y], [otherX, otherY]] = [place(event), place(other)];
      map.zoomAt((x + otherX) / 2, (y + otherY) / 2, apart(event) / apart(before));
      map.pan(dx / 2, dy / 2);
    } else if (moved > 4) {
      canvas.classList.add("moving");
      map.point(-1);
      map.pan(dx, dy);
    }
    fingers.set(event.pointerId, event);
  });
  root.addEventListener("pointermove", (event) => { if (!fingers.size) hover(event); }); // a label hides no document under it
  const lift = (event) => {
    fingers.delete(event.pointerId);
    canvas.classList.remove("moving");
    if (event.type === "pointerup" && moved <= 4) map.onPress(map.nearest(...place(event)));
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  root.addEventListener("pointerleave", () => { if (!map.isPinned) map.point(-1); });
  canvas.addEventListener("dblclick", (event) => map.zoomAt(...place(event), 2));
  root.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    if (!map.isPinned) map.point(-1);
    cancelAnimationFrame(map.flight);
    map.zoomAt(...place(event), Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * (event.ctrlKey ? 0.01 : 0.0022)));
  }, { passive: false });
}

const MOVES = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };

export function moveByKey(map, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") map.zoomBy(1.4);
  else if (event.key === "-") map.zoomBy(1 / 1.4);
  else if (event.key === "0") map.showAll();
  else if (MOVES[event.key]) map.pan(...MOVES[event.key]);
  else return;
  event.preventDefault();
}
