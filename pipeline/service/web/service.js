// Questions to the service. A token is kept in memory only, and asked for when the service wants one.

import { $ } from "./dom.js";

let token = null;
let asking = null;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, { body, signal, read = (answer) => answer.json() } = {}) {
  const sent = token;
  const headers = sent === null ? {} : { authorization: `Bearer ${sent}` };
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) })
    .catch((error) => {
      throw error.name === "AbortError" ? error : new Refused(0, "The service does not answer. Is it running?");
    });
  if (answer.status === 401) {
    if (sent === token) await newToken(sent !== null);
    return ask(path, { body, signal, read });
  }
  if (answer.ok) return read(answer);
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, problem.detail || answer.statusText || `status ${answer.status}`);
}

export function get(path, fields = {}) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) given.append(name, one);
  }
  return ask(given.size ? `${path}?${given}` : path);
}

function newToken(wasWrong) {
  asking ??= new Promise((done) => {
    $("token-name").textContent = wasWrong ? "That token was not accepted" : "This service asks for a token";
    $("token-dialog").oncancel = (event) => event.preventDefault();
    $("token-form").onsubmit = (event) => {
      event.preventDefault();
      token = $("token").value.trim();
      $("token").value = "";
      $("token-dialog").close();
      asking = null;
      done();
    };
    $("token-dialog").showModal();
  });
  return asking;
}
