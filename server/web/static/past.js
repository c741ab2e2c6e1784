/** The person's past questions: reopened with one click, and deleted. */
import {call, fetchJSON, ofUser} from "./api.js";
import {person, reopen} from "./ask.js";
import {$, acted, confirmed, h, problemBox, told} from "./dom.js";
import {day, t} from "./texts.js";

const list = $("#past ul");
let cursor = null;

export function startPast() {
  $("#user").addEventListener("change", loadPast);
  $("#more").addEventListener("click", () => append(person()));
  document.addEventListener("answered", loadPast);
}

/** Show the newest questions of the person. Nobody's are shown while the name is not one that is known. */
export async function loadPast() {
  cursor = null;
  list.replaceChildren();
  $("#past").hidden = true;
  if (person()) await append(person());
}

async function append(user) {
  const query = cursor ? `?${new URLSearchParams({cursor})}` : "";
  try {
    const page = await fetchJSON(ofUser(user, `/answers${query}`));
    if (user !== person()) return;
    list.append(...page.answers.map((one) => entry(user, one)));
    cursor = page.next_cursor;
  } catch (error) {
    // Whoever has no history has no questions either.
    if (error.problem?.status === 404) return;
    $("#problem").replaceChildren(problemBox(error));
  }
  $("#past").hidden = false;
  $("#more").hidden = cursor === null;
  $("#past-none").hidden = list.childElementCount > 0;
}

function entry(user, {id, question, answer, created_at}) {
  const open = h("button", {type: "button", className: "link"}, question);
  const remove = told("button", "delete", {}, {type: "button", ariaLabel: t("delete_answer", {question})});
  const about = [day(created_at), answer].filter(Boolean).join(" · ");
  const item = h("li", {}, h("div", {}, open, h("p", {className: "meta short"}, about)), remove);
  open.addEventListener("click", () => acted(async () => {
    reopen(await fetchJSON(ofUser(user, `/answers/${encodeURIComponent(id)}`)));
    $("#ask").scrollIntoView();
  }));
  remove.addEventListener("click", () => acted(async () => {
    if (!(await confirmed(question))) return;
    await call(ofUser(user, `/answers/${encodeURIComponent(id)}`), {method: "DELETE"});
    item.remove();
    $("#past-none").hidden = list.childElementCount > 0;
  }));
  return item;
}
