// Drawing. Points are splatted into an image, pixel by pixel: 50,000 of them in some ten milliseconds, on any machine,
// with or without a graphics card. Labels are elements over the image, so that they can be selected and clicked.

function disc(radius, opacity) {
  const reach = Math.ceil(radius), cells = [];
  for (let dy = -reach; dy <= reach; dy++)
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (cover > 0) cells.push(dx, dy, Math.round(256 * opacity * cover));
    }
  return { reach, cells: Int32Array.from(cells) };
}

function splat(pixels, width, height, at, dots, colours, wanted) {
  const { reach, cells } = dots, { scale } = at;
  const left = at.left - view.x * scale, top = at.top - view.y * scale;
  for (let i = 0; i < count; i++) {
    if (!wanted(i)) continue;
    const px = Math.round(left + xs[i] * scale), py = Math.round(top + ys[i] * scale);
    if (px < reach || py < reach || px >= width - reach || py >= height - reach) continue;
    const ink = colours[topicOf[i] + 1], inkRB = ink & 0xff00ff, inkG = ink & 0xff00;
    for (let c = 0; c < cells.length; c += 3) {
      const place = px + cells[c] + (py + cells[c + 1]) * width, a = cells[c + 2], b = 256 - a, paper = pixels[place];
      const rb = (inkRB * a + (paper & 0xff00ff) * b) / 256 & 0xff00ff, g = (inkG * a + (paper & 0xff00) * b) / 256 & 0xff00;
      pixels[place] = 0xff000000 | rb | g;
    }
  }
}

function draw() {
  frame = 0;
  const ratio = devicePixelRatio || 1;
  const width = Math.round(innerWidth * ratio), height = Math.round(innerHeight * ratio);
  if (canvas.width !== width || canvas.height !== height || !image) {
    canvas.width = width; canvas.height = height;
    image = context.createImageData(width, height);
  }
  const css = frameOf(), at = { scale: css.scale * ratio, left: css.left * ratio, top: css.top * ratio };
  const pixels = new Uint32Array(image.data.buffer);
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
  pixels.fill(packedColour(paper));
  const size = Math.min(4, Math.max(0.9, 0.15 * Math.sqrt(innerWidth * innerHeight / count))) * view.zoom ** 0.35;
  const radius = ratio * Math.min(size, 7);
  const inks = Uint32Array.from([NONE, ...topics], (topic) => packedColour(colour(topic)));
  const greys = inks.map(() => inks[0]);
  const { match } = state;
  if (match) {
    splat(pixels, width, height, at, disc(radius * 0.8, 0.16), greys, (i) => !match[i]);
    splat(pixels, width, height, at, disc(radius * 1.15, 0.95), inks, (i) => match[i]);
  } else {
    splat(pixels, width, height, at, disc(radius * 0.8, 0.4), inks, (i) => topicOf[i] < 0);
    splat(pixels, width, height, at, disc(radius, 0.72), inks, (i) => topicOf[i] >= 0);
  }
  context.putImageData(image, 0, 0);
  placeLabels(css);
  placeRing(css);
  document.documentElement.dataset.drawn = String(count);
}
const redraw = () => { frame ||= requestAnimationFrame(draw); };

// Labels: regions from afar, topics, and the documents themselves from near; the larger first, none over another.

const labels = [];

function makeLabels() {
  const largest = Math.max(1, ...topics.map((topic) => topic.size));
  const add = (kind, element, place, rank) => {
    element.className = kind;
    $("labels").append(element);
    labels.push({ kind, element, x: place.x, y: place.y, rank });
  };
  for (const region of regions) add("region", text("div", region.label), region, 2);
  topics.forEach((topic, index) => {
    const button = text("button", topic.label);
    button.type = "button";
    button.tabIndex = -1; // the list has the same topics in reading order
    button.style.fontSize = `${11 + 5 * Math.sqrt(topic.size / largest)}px`;
    button.addEventListener("click", () => choose(index));
    add("topic", button, topic, topic.size / largest);
    labels.at(-1).index = index;
  });
  for (let i = 0; i < 40; i++) add("document", text("div", ""), { x: 0, y: 0 }, -1);
  labels.sort((a, b) => b.rank - a.rank);
  measure();
}

function measure() {
  for (const label of labels) [label.width, label.height] = [label.element.offsetWidth, label.element.offsetHeight];
}

function placeLabels(at) {
  const taken = [$("panel").getBoundingClientRect(), $("tools").getBoundingClientRect()];
  const near = inView(at);
  const spare = near.length <= 40 && view.zoom > 1 ? near : [];
  for (const label of labels) {
    const { kind, element } = label;
    let shift = 0.5;
    if (kind === "document") {
      const point = spare.pop();
      if (point === undefined) { element.classList.remove("on"); continue; }
      [label.x, label.y] = [xs[point], ys[point]];
      element.textContent = texts[point].length > 60 ? `${texts[point].slice(0, 59)}…` : texts[point];
      [label.width, label.height] = [element.offsetWidth, element.offsetHeight];
      shift = -0.05;
    }
    const [px, py] = toScreen(at, label.x, label.y), { width, height } = label;
    const box = { left: within(px - shift * width, innerWidth - width), top: within(py - height / 2, innerHeight - height), width, height };
    const shown = (kind !== "region" || view.zoom < 2) && inWindow(px, py) && !taken.some((other) => overlap(box, other));
    if (shown) {
      taken.push(box);
      element.style.transform = `translate(${Math.round(box.left)}px, ${Math.round(box.top)}px)`;
      element.classList.toggle("away", kind === "topic" && state.inTopic !== null && !state.inTopic[label.index]);
    }
    element.classList.toggle("on", shown);
  }
}

const overlap = (a, b) =>
  a.left < b.left + b.width + 6 && b.left < a.left + a.width + 6 && a.top < b.top + b.height + 3 && b.top < a.top + a.height + 3;
const within = (edge, last) => Math.max(4, Math.min(edge, last - 4));
const inWindow = (px, py) => px > 0 && py > 0 && px < innerWidth && py < innerHeight;

function inView(at) { // points on the screen, or the first 41 of them
  const [left, top] = toMap(at, 0, 0), [right, bottom] = toMap(at, innerWidth, innerHeight), found = [];
  for (let i = 0; i < count && found.length <= 40; i++)
    if (xs[i] > left && xs[i] < right && ys[i] > top && ys[i] < bottom && (!state.match || state.match[i])) found.push(i);
  return found;
}
