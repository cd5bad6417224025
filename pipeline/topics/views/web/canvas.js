// A map of documents on a canvas, in whatever element it is given: where points are on the screen, drawing them, which
// of them are chosen. The element holds a canvas, a layer for labels (.labels) and a ring (.ring). Whatever comes from a
// document or a label only ever becomes a text node.

import { Labels } from "./labels.js";
import { byCell, disc, packedColour, splat } from "./splat.js";

export const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const NONE = { label: "in no topic", light: "#9a9da3", dark: "#6d727b" };
const MAX_ZOOM = 60;
const STEPS = 65535; // of a coordinate
const MANY = 20_000; // points, of which every other one is drawn while the map moves
const PAUSE = 120; // milliseconds after which it has come to rest

// What a map shows: topics and regions as the head has them, and from `bytes` x and y as uint16, then topics as int16.
export function readMap({ topics, regions, shown }, bytes, offset = 0) {
  const steps = new Uint16Array(bytes, offset, 2 * shown);
  const turned = (places) => places.map((place) => ({ ...place, y: 1 - place.y })); // on a screen y goes down
  return {
    topics: turned(topics),
    regions: turned(regions),
    count: shown,
    xs: Float32Array.from(steps.subarray(0, shown), (step) => step / STEPS),
    ys: Float32Array.from(steps.subarray(shown), (step) => 1 - step / STEPS),
    topicOf: new Int16Array(bytes, offset + 4 * shown, shown),
  };
}

export const colourOf = (topic) => (dark.matches ? topic.dark : topic.light);

export class DocumentMap {
  // onPoint(i, isPinned): a point is under the pointer, -1: none. onPress(i): it is clicked. onTopic(index): a label is.
  // room(): the part of the element to fill. reserved(): boxes without labels. textOf(i): what a point says from near.
  constructor(root, { onPoint, onPress, onTopic, room, reserved = () => [], textOf }) {
    Object.assign(this, { root, onPoint, onPress, count: 0, width: 0, height: 0, frame: 0, flight: 0, resting: 0, inks: null });
    Object.assign(this, { match: null, inTopic: null, matches: 0, lit: [], hover: -1, isPinned: false });
    this.room = room ?? (() => ({ left: 0, top: 0, width: this.width, height: this.height }));
    this.canvas = root.querySelector("canvas");
    this.ring = root.querySelector(".ring");
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.labels = new Labels(this, root.querySelector(".labels"), { onTopic, textOf, reserved });
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    dark.addEventListener("change", () => { this.inks = null; this.redraw(); });
    new ResizeObserver(() => this.resize()).observe(root);
  }

  show(data) {
    Object.assign(this, data, { lit: [], hover: -1, inks: null });
    this.measure();
    this.resize();
    this.labels.make();
    this.select(null);
  }

  measure() {
    let [top, bottom, left, right] = [1, 0, 1, 0];
    for (let i = 0; i < this.count; i++) {
      top = Math.min(top, this.ys[i]); bottom = Math.max(bottom, this.ys[i]);
      left = Math.min(left, this.xs[i]); right = Math.max(right, this.xs[i]);
    }
    this.span = { x: (left + right) / 2, y: (top + bottom) / 2, w: Math.max(right - left, 0.02), h: Math.max(bottom - top, 0.02) };
    this.view = { x: this.span.x, y: this.span.y, zoom: 1 };
    this.order = byCell(this.xs, this.ys);
  }

  resize() {
    [this.width, this.height] = [this.root.clientWidth, this.root.clientHeight];
    if (!this.count) return;
    const { width, height } = this.room();
    if ((width >= height) !== (this.span.w >= this.span.h)) this.turn();
    this.redraw();
  }

  turn() { // the long side of the map along the long side of the room
    [this.xs, this.ys] = [this.ys, this.xs];
    for (const place of [...this.topics, ...this.regions]) [place.x, place.y] = [place.y, place.x];
    this.measure();
  }

  topicAt(i) {
    return this.topicOf[i] < 0 ? NONE : this.topics[this.topicOf[i]];
  }

  frameOf() {
    const { left, top, width, height } = this.room();
    const margin = width < 640 ? 24 : 48;
    const base = Math.min((width - 2 * margin) / this.span.w, (height - 2 * margin) / this.span.h);
    return { scale: base * this.view.zoom, left: left + width / 2, top: top + height / 2 };
  }

  toScreen(at, x, y) {
    return [at.left + (x - this.view.x) * at.scale, at.top + (y - this.view.y) * at.scale];
  }

  toMap(px, py, at = this.frameOf()) {
    return [this.view.x + (px - at.left) / at.scale, this.view.y + (py - at.top) / at.scale];
  }

  onScreen(i, at = this.frameOf()) {
    return this.toScreen(at, this.xs[i], this.ys[i]);
  }

  redraw() {
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  move() { // draws what is enough for the eye at once, and all of it when it rests
    clearTimeout(this.resting);
    this.resting = setTimeout(() => { this.resting = 0; this.redraw(); }, PAUSE);
    this.redraw();
  }

  draw() {
    this.frame = 0;
    const ratio = devicePixelRatio || 1;
    if (!this.count || !this.fitCanvas(Math.round(this.width * ratio), Math.round(this.height * ratio))) return;
    const css = this.frameOf(), scale = css.scale * ratio;
    const at = { scale, left: css.left * ratio - this.view.x * scale, top: css.top * ratio - this.view.y * scale };
    const size = Math.min(4, Math.max(0.9, 0.15 * Math.sqrt(this.width * this.height / this.count)));
    const radius = ratio * Math.min(size * this.view.zoom ** 0.35, 7);
    const { paper, edges, inks, greys } = (this.inks ??= this.mixInks());
    const step = this.resting && this.count > MANY ? 2 : 1;
    this.image.pixels.fill(paper);
    for (const { points, factor, opacity, isGrey } of this.layers)
      splat(this.image, at, this, points, disc(radius * factor, opacity), isGrey ? greys : inks, step);
    const lit = Math.max(4 * ratio, radius * 1.4);
    const ring = disc(lit + 2 * ratio, 1), inside = disc(lit, 1);
    for (const i of this.lit) { // one after the other, so that each keeps its ring
      splat(this.image, at, this, [i], ring, edges);
      splat(this.image, at, this, [i], inside, inks);
    }
    this.context.putImageData(this.image.data, 0, 0);
    this.labels.place(css);
    this.placeRing(css);
    this.root.dataset.drawn = String(this.count);
  }

  mixInks() {
    const style = getComputedStyle(this.root), page = (name) => packedColour(style.getPropertyValue(name).trim());
    const inks = Uint32Array.from([NONE, ...this.topics], (topic) => packedColour(colourOf(topic)));
    return { paper: page("--paper"), edges: inks.map(() => page("--ink")), inks, greys: inks.map(() => inks[0]) };
  }

  fitCanvas(width, height) { // whether there is anything to draw on
    if (!width || !height) return false;
    if (this.image?.width === width && this.image.height === height) return true;
    Object.assign(this.canvas, { width, height });
    const data = this.context.createImageData(width, height);
    this.image = { data, width, height, pixels: new Uint32Array(data.data.buffer) };
    return true;
  }

  // Only points whose `match` is 1 stay in colour; null: all.
  select(match) {
    Object.assign(this, { match, inTopic: match && new Int32Array(this.topics.length), matches: 0 });
    const under = [], over = [];
    for (const i of this.order) {
      (match ? match[i] : this.topicOf[i] >= 0) ? over.push(i) : under.push(i);
      if (match?.[i] && this.topicOf[i] >= 0) this.inTopic[this.topicOf[i]]++;
    }
    this.matches = match ? over.length : 0;
    const layer = (points, factor, opacity, isGrey) => ({ points: Uint32Array.from(points), factor, opacity, isGrey });
    this.layers = match
      ? [layer(under, 0.8, 0.16, true), layer(over, 1.15, 0.95, false)]
      : [layer(under, 0.8, 0.4, false), layer(over, 1, 0.72, false)];
    this.point(-1);
    this.redraw();
  }

  light(points) { // over all others, with a ring
    this.lit = points;
    this.redraw();
  }

  nearest(px, py) {
    const at = this.frameOf(), [x, y] = this.toMap(px, py, at);
    let best = -1, least = (14 / at.scale) ** 2;
    for (let i = 0; i < this.count; i++) {
      if (this.match && !this.match[i]) continue;
      const apart = (this.xs[i] - x) ** 2 + (this.ys[i] - y) ** 2;
      if (apart < least) [best, least] = [i, apart];
    }
    return best;
  }

  point(i, isPinned = false) {
    if (i === this.hover && isPinned === this.isPinned) return;
    Object.assign(this, { hover: i, isPinned: isPinned && i >= 0 });
    this.canvas.classList.toggle("pointing", i >= 0);
    this.placeRing(this.frameOf());
    this.onPoint(i, this.isPinned);
  }

  placeRing(at) {
    this.ring.hidden = this.hover < 0;
    if (this.hover < 0) return;
    const [px, py] = this.onScreen(this.hover, at);
    this.ring.style.transform = `translate(${px}px, ${py}px)`;
  }

  zoomAt(px, py, factor) {
    const [x, y] = this.toMap(px, py);
    this.view.zoom = Math.min(MAX_ZOOM, Math.max(0.6, this.view.zoom * factor));
    const now = this.frameOf();
    [this.view.x, this.view.y] = [x - (px - now.left) / now.scale, y - (py - now.top) / now.scale];
    this.move();
  }

  zoomBy(factor) {
    const { left, top } = this.frameOf();
    this.zoomAt(left, top, factor);
  }

  pan(dx, dy) {
    const { scale } = this.frameOf();
    this.view.x -= dx / scale;
    this.view.y -= dy / scale;
    this.move();
  }

  fly(x, y, zoom) {
    cancelAnimationFrame(this.flight);
    const { view } = this, from = { ...view }, start = performance.now(), takes = still.matches ? 0 : 450;
    const step = (now) => {
      const t = takes ? Math.min(1, Math.max(0, now - start) / takes) : 1, eased = 1 - (1 - t) ** 3;
      view.zoom = from.zoom * (zoom / from.zoom) ** eased;
      const way = Math.abs(zoom - from.zoom) > 1e-6 ? (1 / from.zoom - 1 / view.zoom) / (1 / from.zoom - 1 / zoom) : eased;
      [view.x, view.y] = [from.x + (x - from.x) * way, from.y + (y - from.y) * way];
      this.draw();
      if (this.hover >= 0 && t === 1) this.onPoint(this.hover, this.isPinned);
      if (t < 1) this.flight = requestAnimationFrame(step);
    };
    step(start);
  }

  showAll() {
    this.fly(this.span.x, this.span.y, 1);
  }

  flyTo(index) { // until nine tenths of a topic fill half of the room
    const { x, y } = this.topics[index], apart = [];
    for (let i = 0; i < this.count; i++)
      if (this.topicOf[i] === index) apart.push(Math.max(Math.abs(this.xs[i] - x), Math.abs(this.ys[i] - y)));
    apart.sort((a, b) => a - b);
    const reach = Math.max(apart[Math.floor(0.9 * apart.length)] ?? 0.1, 0.01);
    this.fly(x, y, Math.min(12, Math.max(1, 0.22 * Math.min(this.span.w, this.span.h) / reach)));
  }
}
