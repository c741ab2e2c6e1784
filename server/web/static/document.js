/** The dialog with one document, opened at the sentences that an answer quotes. */
import {fetchJSON, ofUser} from "./api.js";
import {$, h, marked, problemBox} from "./dom.js";
import {day, t} from "./texts.js";

const dialog = $("#document");

/** Fetch a document and show it, with the quotes (`start` and `end`, in code points) marked. */
export async function openDocument(user, id, quotes = []) {
  const [title, meta, text] = [$("h2", dialog), $(".meta", dialog), $(".text", dialog)];
  title.textContent = t("document");
  meta.textContent = id;
  text.replaceChildren("…");
  if (!dialog.open) dialog.showModal();
  try {
    const found = await fetchJSON(ofUser(user, `/documents?id=${encodeURIComponent(id)}`));
    title.textContent = found.title ?? t("no_title");
    const more = Object.entries(found.metadata ?? {}).map(([name, value]) => `${name}: ${value}`);
    meta.textContent = [found.created_at && day(found.created_at), found.source, found.id, ...more]
      .filter(Boolean).join(" · ");
    text.replaceChildren(...marked(found.text, quotes.map(({start, end}) => [start, end])));
    $("mark", text)?.scrollIntoView({block: "center"});
  } catch (error) {
    text.replaceChildren(problemBox(error));
  }
}

/** Ask for the server's key. Resolves to "" if the dialog is dismissed. */
export function askForKey() {
  const [key, token] = [$("#key"), $("#token")];
  if (!key.open) key.showModal();
  return new Promise((resolve) => {
    key.addEventListener("close", () => {
      resolve(key.returnValue === "given" ? token.value.trim() : "");
      key.returnValue = token.value = "";
    }, {once: true});
  });
}
