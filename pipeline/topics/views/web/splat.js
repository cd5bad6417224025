// Points as pixels: they are blended into an image by hand, 50,000 of them in some milliseconds, with or without a
// graphics card.

const CELLS = 64; // of a side of the map

export function disc(radius, opacity) {
  const reach = Math.ceil(radius), cells = [];
  for (let dy = -reach; dy <= reach; dy++)
    for (let dx = -reach; dx <= reach; dx++) {
      const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (cover > 0) cells.push({ dx, dy, alpha: Math.round(256 * opacity * cover) });
    }
  return { reach, cells };
}

// A disc at each of `points`, places in xs and ys, in the ink of its topic; inks[0] is for points in none.
export function splat({ pixels, width, height }, { scale, left, top }, { xs, ys, topicOf }, points, { reach, cells }, inks, step = 1) {
  const offsets = Int32Array.from(cells, ({ dx, dy }) => dx + dy * width);
  const alphas = Int32Array.from(cells, ({ alpha }) => alpha);
  const right = width - reach, bottom = height - reach, size = offsets.length;
  for (let n = 0; n < points.length; n += step) {
    const i = points[n];
    const px = left + xs[i] * scale + 0.5 | 0, py = top + ys[i] * scale + 0.5 | 0;
    if (px < reach || py < reach || px >= right || py >= bottom) continue;
    const ink = inks[topicOf[i] + 1], redBlue = ink & 0xff00ff, green = ink & 0xff00, middle = px + py * width;
    for (let c = 0; c < size; c++) {
      const place = middle + offsets[c], a = alphas[c], b = 256 - a, under = pixels[place];
      const rb = (Math.imul(redBlue, a) + Math.imul(under & 0xff00ff, b)) >>> 8 & 0xff00ff;
      pixels[place] = 0xff000000 | rb | (Math.imul(green, a) + Math.imul(under & 0xff00, b)) >>> 8 & 0xff00;
    }
  }
}

// All places, neighbours one after the other: pixels that lie together are drawn together, in half the time.
export function byCell(xs, ys) {
  const row = (i) => Math.floor(CELLS * ys[i]) * CELLS + Math.floor(CELLS * xs[i]);
  return Float64Array.from(xs, (_, i) => row(i) * xs.length + i).sort().map((key) => key % xs.length);
}

export function packedColour(hex) { // #rrggbb as a pixel of an image
  const rgb = parseInt(hex.slice(1), 16);
  return (255 << 24 | (rgb & 255) << 16 | rgb & 0xff00 | rgb >> 16) >>> 0;
}
