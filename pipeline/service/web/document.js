// The document that is open, in a dialog.

import { $, el, readable } from "./dom.js";
import { get } from "./service.js";

export async function showDocument(table, id) {
  if (id === null) {
    $("document").close();
    return;
  }
  try {
    const { rows } = await get(`/documents/${encodeURIComponent(id)}`, { table: table.table });
    const names = [...table.kept.map(({ name }) => name), "source"];
    $("document-facts").replaceChildren(...names
      .filter((name) => rows[0][name] !== null && rows[0][name] !== undefined)
      .flatMap((name) => [el("dt", {}, name), el("dd", {}, readable(rows[0][name]))]));
    $("document-text").replaceChildren(...rows.map((row) => el("p", {}, row.text ?? "The text is not served.")));
  } catch (error) {
    $("document-facts").replaceChildren();
    $("document-text").replaceChildren(el("p", { className: "error" }, error.message));
  }
  $("document-name").textContent = id;
  if (!$("document").open) $("document").showModal();
}
