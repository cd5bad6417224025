// Elements. Whatever comes from a table only ever becomes a text node.

export const $ = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const { label, ...others } = properties;
  const made = Object.assign(document.createElement(name), others);
  if (label) made.setAttribute("aria-label", label);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const button = (text, onclick, more = {}) => el("button", { type: "button", onclick, ...more }, text);

export const soft = (text) => el("span", { className: "soft" }, text);

export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

// For people: lists without brackets, numbers with the digits that tell something.
export function readable(value) {
  if (Array.isArray(value)) return value.map(readable).join(", ");
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : shown(value);
}

const number = new Intl.NumberFormat("en");
export const digits = (value) => number.format(value);
export const count = (value, one) => `${digits(value)} ${one}${value === 1 ? "" : "s"}`;
export const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
