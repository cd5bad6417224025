"use strict";
// A map of documents, in four parts that become one script: the data and where they are on the screen; drawing them;
// the panel; moving about. Whatever comes from a document or a label only ever becomes a text node.

const $ = (id) => document.getElementById(id);
const head = JSON.parse($("head").textContent);
const { topics, regions } = head;
const number = new Intl.NumberFormat("en");
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const phone = matchMedia("(max-width: 640px)");
const NONE = { label: "in no topic", light: "#9a9da3", dark: "#6d727b" };
const MAX_ZOOM = 60;
const HITS = 100;

const canvas = $("canvas");
const context = canvas.getContext("2d", { alpha: false });
const view = { x: 0.5, y: 0.5, zoom: 1 };
const state = { query: "", topic: null, match: null, matches: 0, inTopic: null, hover: -1, pinned: false };
let xs, ys, topicOf, ids, texts, lower, span, image, frame = 0;
let count = 0;

async function unpack(id) {
  const packed = Uint8Array.from(atob($(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function load() {
  const bytes = await unpack("points");
  count = head.shown;
  const steps = new Uint16Array(bytes, 0, 2 * count);
  topicOf = new Int16Array(bytes, 4 * count, count);
  xs = Float32Array.from(steps.subarray(0, count), (step) => step / 65535);
  ys = Float32Array.from(steps.subarray(count), (step) => 1 - step / 65535);
  ({ ids, texts } = JSON.parse(new TextDecoder().decode(await unpack("texts"))));
  for (const place of [...topics, ...regions]) place.y = 1 - place.y;
  measureMap();
}

function measureMap() {
  let [top, bottom, left, right] = [1, 0, 1, 0];
  for (let i = 0; i < count; i++) {
    top = Math.min(top, ys[i]); bottom = Math.max(bottom, ys[i]);
    left = Math.min(left, xs[i]); right = Math.max(right, xs[i]);
  }
  span = { x: (left + right) / 2, y: (top + bottom) / 2, w: Math.max(right - left, 0.02), h: Math.max(bottom - top, 0.02) };
  [view.x, view.y, view.zoom] = [span.x, span.y, 1];
}

function turn() { // the long side of the map along the long side of the room
  const { width, height } = room();
  if ((width >= height) === (span.w >= span.h)) return;
  [xs, ys] = [ys, xs];
  for (const place of [...topics, ...regions, ...labels]) [place.x, place.y] = [place.y, place.x];
  measureMap();
}

const topicAt = (i) => (topicOf[i] < 0 ? NONE : topics[topicOf[i]]);
const colour = (topic) => (dark.matches ? topic.dark : topic.light);
const packedColour = (hex) => {
  const rgb = parseInt(hex.slice(1), 16);
  return (255 << 24 | (rgb & 255) << 16 | rgb & 0xff00 | rgb >> 16) >>> 0;
};

function room() { // the part of the window that the panel leaves
  const panel = $("panel").getBoundingClientRect();
  const left = phone.matches ? 0 : panel.right, top = phone.matches ? panel.top + Math.min(panel.height, 130) : 0;
  return { left, top, width: innerWidth - left, height: innerHeight - top };
}

function frameOf() {
  const { left, top, width, height } = room();
  const margin = phone.matches ? 24 : 48;
  const base = Math.min((width - 2 * margin) / span.w, (height - 2 * margin) / span.h);
  return { scale: base * view.zoom, left: left + width / 2, top: top + height / 2 };
}
const toScreen = (at, x, y) => [at.left + (x - view.x) * at.scale, at.top + (y - view.y) * at.scale];
const toMap = (at, px, py) => [view.x + (px - at.left) / at.scale, view.y + (py - at.top) / at.scale];
