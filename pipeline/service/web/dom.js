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

export const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

const number = new Intl.NumberFormat("en");
export const count = (value, one) => `${number.format(value)} ${one}${value === 1 ? "" : "s"}`;
