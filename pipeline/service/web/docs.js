// What the service says of itself in /openapi.json, for people: each route with its fields, and a command that asks it.

import { $, el } from "./dom.js";
import { get } from "./service.js";

const isNull = ({ type }) => type === "null";

function resolved(schema, api) {
  return schema.$ref ? api.components.schemas[schema.$ref.split("/").at(-1)] : schema;
}

function kindOf(schema) {
  if (schema.anyOf) return schema.anyOf.filter((each) => !isNull(each)).map(kindOf).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `list of ${kindOf(schema.items ?? {})}`;
  return schema.type ?? "any";
}

// Bounds, of a field itself or of what else it may be than null.
function bounds(schema) {
  const own = [["≥", schema.minimum], ["≤", schema.maximum], ["<", schema.exclusiveMaximum]];
  const said = own.filter(([, value]) => value !== undefined).map(([sign, value]) => `${sign} ${value}`);
  return [...said, ...(schema.anyOf ?? []).flatMap(bounds)];
}

function field(name, schema, required, description) {
  const left = required ? "required" : schema.default === undefined || schema.default === null ? "" : JSON.stringify(schema.default);
  const says = [description, bounds(schema).join(", ")].filter(Boolean).join("; ");
  return el("tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, kindOf(schema)), el("td", {}, left), el("td", {}, says));
}

function fields(caption, rows) {
  const head = ["Field", "Kind", "Default", "Meaning"].map((name) => el("th", { scope: "col" }, name));
  return el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

const exampleOf = (name, schema, own) => own ?? schema.examples?.[0] ?? name.toUpperCase();

function command(method, path, parameters, body) {
  const value = ({ name, schema, example }) => encodeURIComponent(exampleOf(name, schema, example));
  const place = parameters.filter((each) => each.in === "path").reduce((made, each) => made.replace(`{${each.name}}`, value(each)), path);
  const asked = parameters.filter((each) => each.in === "query" && each.required).map((each) => `${each.name}=${value(each)}`).join("&");
  const address = `${location.origin}${place}${asked && "?"}${asked}`;
  if (method === "get") return `curl -s "${address}"`;
  const sent = body.examples?.[0] ?? Object.fromEntries((body.required ?? []).map((name) => [name, exampleOf(name, body.properties[name])]));
  return `curl -s ${address} -H "content-type: application/json" -d '${JSON.stringify(sent).replaceAll("'", "'\\''")}'`;
}

function section(path, method, route, api) {
  const parameters = (route.parameters ?? []).map((each) => ({ ...each, schema: resolved(each.schema, api) }));
  const content = route.requestBody?.content["application/json"].schema;
  const body = content && resolved(content, api);
  return el("section", { id: anchor(path, method) },
    el("h2", {}, el("code", {}, `${method.toUpperCase()} ${path}`)),
    el("p", {}, ...written(`${route.summary}. ${route.description ?? ""}`)),
    parameters.length ? fields("In the address", parameters.map((each) => field(each.name, each.schema, each.required, each.description ?? each.schema.description))) : null,
    body ? fields("In the body, as JSON", Object.entries(body.properties).map(([name, each]) => field(name, each, body.required?.includes(name), each.description))) : null,
    el("pre", {}, command(method, path, parameters, body)));
}

// What stands between pairs of backticks is code.
const written = (text) => text.split("``").map((part, place) => (place % 2 ? el("code", {}, part) : part));

const anchor = (path, method) => `${method}${path.replaceAll(/[^a-z]+/g, "-")}`;

async function start() {
  const api = await get("/openapi.json");
  const routes = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, route]) => [path, method, route]));
  $("about").textContent = api.info.description;
  $("contents").append(...routes.map(([path, method]) => el("a", { href: `#${anchor(path, method)}` }, `${method.toUpperCase()} ${path}`)));
  $("routes").append(...routes.map(([path, method, route]) => section(path, method, route, api)));
  $("status").hidden = true;
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => { $("status").textContent = error.message; $("status").classList.add("error"); });
