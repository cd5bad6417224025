// Labels on a map: regions from afar, topics, and the documents themselves from near; the larger first, none over
// another. They are elements over the image, so that they can be selected and clicked.

const NEAR = 40; // documents that speak for themselves

export class Labels {
  constructor(map, layer, { onTopic, textOf, reserved }) {
    Object.assign(this, { map, layer, onTopic, textOf, reserved, all: [] });
  }

  make() {
    const { topics, regions } = this.map;
    const largest = Math.max(1, ...topics.map((topic) => topic.size));
    const made = (kind, name, content) => Object.assign(document.createElement(name), { className: kind, textContent: content });
    this.all = regions.map((region) => ({ kind: "region", element: made("region", "div", region.label), place: region, rank: 2 }));
    topics.forEach((topic, index) => {
      const element = made("topic", "button", topic.label), rank = topic.size / largest;
      Object.assign(element, { type: "button", tabIndex: -1, onclick: () => this.onTopic(index) }); // lists have the same topics in reading order
      element.style.fontSize = `${11 + 5 * Math.sqrt(rank)}px`;
      this.all.push({ kind: "topic", element, place: topic, rank, index });
    });
    for (let i = 0; this.textOf && i < NEAR; i++) this.all.push({ kind: "document", element: made("document", "div", ""), rank: -1 });
    this.all.sort((a, b) => b.rank - a.rank);
    this.layer.replaceChildren(...this.all.map(({ element }) => element));
    this.measure();
  }

  measure() {
    for (const label of this.all) [label.width, label.height] = [label.element.offsetWidth, label.element.offsetHeight];
  }

  place(at) {
    const { map } = this, taken = this.reserved();
    const near = this.textOf && map.view.zoom > 1 ? this.near() : [];
    for (const label of this.all) {
      if (label.kind === "document") this.speak(label, near.pop());
      const isShown = label.place !== undefined && (label.kind !== "region" || map.view.zoom < 2) && this.fits(label, at, taken);
      if (isShown !== label.isShown) label.element.classList.toggle("on", isShown);
      label.isShown = isShown;
      if (label.kind === "topic") label.element.classList.toggle("away", map.inTopic !== null && !map.inTopic[label.index]);
    }
  }

  fits(label, at, taken) { // moves it to its place, where nothing stands there
    const { width, height, element, kind } = label, { map } = this;
    const [px, py] = map.toScreen(at, label.place.x, label.place.y);
    if (px <= 0 || py <= 0 || px >= map.width || py >= map.height) return false;
    const left = within(px - (kind === "document" ? -0.05 : 0.5) * width, map.width - width);
    const box = { left, top: within(py - height / 2, map.height - height), width, height };
    if (taken.some((other) => overlap(box, other))) return false;
    taken.push(box);
    element.style.transform = `translate(${Math.round(box.left)}px, ${Math.round(box.top)}px)`;
    return true;
  }

  speak(label, point) {
    label.place = point === undefined ? undefined : { x: this.map.xs[point], y: this.map.ys[point] };
    if (point === undefined || point === label.point) return;
    label.point = point;
    const body = this.textOf(point);
    label.element.textContent = body.length > 60 ? `${body.slice(0, 59)}…` : body;
    [label.width, label.height] = [label.element.offsetWidth, label.element.offsetHeight];
  }

  near() { // the points on the screen, where they are few
    const { map } = this, { xs, ys, match } = map, found = [];
    const [left, top] = map.toMap(0, 0), [right, bottom] = map.toMap(map.width, map.height);
    for (let i = 0; i < map.count && found.length <= NEAR; i++)
      if (xs[i] > left && xs[i] < right && ys[i] > top && ys[i] < bottom && (!match || match[i])) found.push(i);
    return found.length <= NEAR ? found : [];
  }
}

const overlap = (a, b) =>
  a.left < b.left + b.width + 6 && b.left < a.left + a.width + 6 && a.top < b.top + b.height + 3 && b.top < a.top + a.height + 3;
const within = (edge, last) => Math.max(4, Math.min(edge, last - 4));
