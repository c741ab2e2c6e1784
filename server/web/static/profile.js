/** The person's history: browsed by time and source, changed, exported, erased. */
import {call, fetchJSON, hasKey, ofUser} from "./api.js";
import {person} from "./ask.js";
import {openDocument} from "./document.js";
import {$, acted, confirmed, h, problemBox, told} from "./dom.js";
import {day, number, t} from "./texts.js";

const PAGE = 500;
const status = (key, values) => $("#profile-status").replaceChildren(told("span", key, values));
let documents = [];
let cursor = null;

export function startProfile() {
  $("#user").addEventListener("change", () => $("#profile").hidden || loadProfile());
  $("#further").addEventListener("click", () => acted(() => read(person())));
  for (const choice of ["#source", "#order"]) $(choice).addEventListener("change", list);
  $("#add").addEventListener("click", () => $("#user").reportValidity() && edit({text: ""}));
  $("#export").addEventListener("click", exportAll);
  $("#erase").addEventListener("click", () => $("#user").reportValidity() && acted(erase));
  $("#search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("#user").reportValidity()) acted(searchAll);
  });
  $("#editor form").addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  $("#editor [data-t=dismiss]").addEventListener("click", () => $("#editor").close());
}

/** Read the person's documents anew. */
export async function loadProfile() {
  documents = [];
  cursor = null;
  $("#rankings").replaceChildren();
  $("#profile-status").replaceChildren();
  list();
  const user = person();
  $("#export").href = user ? ofUser(user, "/export") : "";
  $("#export").download = `${user}.ndjson`;
  if (user) await acted(() => read(user));
}

async function read(user) {
  const query = new URLSearchParams({limit: PAGE, ...(cursor ? {cursor} : {})});
  try {
    const page = await fetchJSON(ofUser(user, `/documents?${query}`));
    if (user !== person()) return;
    documents.push(...page.documents);
    cursor = page.next_cursor;
  } catch (error) {
    if (error.problem?.status !== 404) throw error;
    status("nothing_stored", {user});
    return;
  }
  status(cursor === null ? "shown" : "shown_more", {n: number(documents.length)});
  list();
}

function list() {
  const [source, order] = [$("#source"), $("#order")];
  const sources = [...new Set(documents.map((one) => one.source).filter(Boolean))].sort();
  const chosen = sources.includes(source.value) ? source.value : "";
  source.replaceChildren(source.options[0], ...sources.map((name) => h("option", {value: name}, name)));
  source.value = chosen;
  const time = ({created_at}) => (created_at ? Date.parse(created_at) : -Infinity);
  const sign = order.value === "newest" ? -1 : 1;
  const shown = documents.filter((one) => !chosen || one.source === chosen)
    .sort((one, other) => sign * (time(one) - time(other) || 0));
  $("#documents").replaceChildren(...shown.map(entry));
  $("#further").hidden = cursor === null;
}

function entry(document) {
  const title = document.title || document.id;
  const open = h("button", {type: "button", className: "link"}, title);
  const about = [document.created_at ? day(document.created_at) : t("undated"), document.source, document.text];
  const change = told("button", "edit", {}, {type: "button", ariaLabel: t("edit_document", {title})});
  const remove = told("button", "delete", {}, {type: "button", ariaLabel: t("delete_document", {title})});
  open.addEventListener("click", () => openDocument(person(), document.id));
  change.addEventListener("click", () => edit(document));
  remove.addEventListener("click", () => acted(async () => {
    if (!(await confirmed(title))) return;
    await call(ofUser(person(), `/documents?id=${encodeURIComponent(document.id)}`), {method: "DELETE"});
    await loadProfile();
  }));
  return h("li", {}, h("div", {}, open, h("p", {className: "meta short"}, about.filter(Boolean).join(" · "))),
    h("div", {className: "row"}, change, remove));
}

let edited = {};

function edit(document) {
  edited = document;
  $("#editor-title").textContent = document.id ? t("edit") : t("add");
  for (const field of $("#editor").querySelectorAll("[name]")) field.value = document[field.name] ?? "";
  $("#editor [role=alert]").replaceChildren();
  $("#editor").showModal();
}

async function save() {
  const changed = {...edited};
  for (const {name, value} of $("#editor").querySelectorAll("[name]")) {
    // An empty field is one that is not given.
    if (name === "text" || value.trim()) changed[name] = value;
    else delete changed[name];
  }
  try {
    await call(ofUser(person(), "/documents"), {method: "PUT", body: [changed]});
  } catch (error) {
    $("#editor [role=alert]").replaceChildren(problemBox(error));
    return;
  }
  $("#editor").close();
  await loadProfile();
}

async function searchAll() {
  const user = person();
  const {retrievers} = await fetchJSON("v1/retrievers");
  const columns = retrievers.map((retriever) => h("section", {className: "side"}, h("h3", {}, retriever)));
  $("#rankings").replaceChildren(...columns);
  await Promise.all(retrievers.map(async (retriever, at) => {
    const body = {queries: [$("#query").value], k: 5, retriever};
    try {
      const {results: [found]} = await fetchJSON(ofUser(user, "/search"), {method: "POST", body});
      columns[at].append(found.length ? h("ol", {className: "ranking"}, found.map((one) => hit(user, one)))
        : told("p", "nothing_found"));
    } catch (error) {
      columns[at].append(problemBox(error));
    }
  }));
}

function hit(user, passage) {
  const open = h("button", {type: "button", className: "link"}, passage.title || passage.document_id);
  const quote = {start: passage.start, end: passage.start + Array.from(passage.text).length};
  open.addEventListener("click", () => openDocument(user, passage.document_id, [quote]));
  const about = [passage.created_at && day(passage.created_at), t("score", {score: number(passage.score, 3)})];
  return h("li", {}, open, h("p", {className: "meta"}, about.filter(Boolean).join(" · ")),
    h("p", {className: "short"}, passage.text));
}

function exportAll(event) {
  if (!$("#user").reportValidity()) return event.preventDefault();
  if (!hasKey()) return undefined; // The link itself streams to the disk; it cannot carry a key.
  event.preventDefault();
  return acted(async () => {
    const blob = await (await call(ofUser(person(), "/export"))).blob();
    h("a", {href: URL.createObjectURL(blob), download: `${person()}.ndjson`}).click();
  });
}

async function erase() {
  const user = person();
  if (!(await confirmed(t("everything_of", {user})))) return;
  const receipt = await (await call(ofUser(user, ""), {method: "DELETE"})).json();
  const rows = [["receipt_id", receipt.id], ["user", receipt.user], ["erased_at", receipt.erased_at],
    ...["documents", "passages", "answers"].map((name) => [name, number(receipt[name])])];
  $("#receipt div").replaceChildren(
    h("table", {}, h("tbody", {}, rows.map(([name, value]) =>
      h("tr", {}, Object.assign(told("th", name), {scope: "row"}), h("td", {}, value))))),
    receipt.remains.length ? told("p", "remains") : "",
    h("ul", {}, receipt.remains.map((place) => h("li", {}, place))));
  await loadProfile();
  document.dispatchEvent(new Event("answered"));
  $("#receipt").showModal();
}
