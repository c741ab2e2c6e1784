/** Asking: the form, the run as it streams in, and the answer beside the one without the history. */
import {ask, fetchJSON} from "./api.js";
import {$, h, problemBox, told} from "./dom.js";
import {rating} from "./rating.js";
import {Steps} from "./steps.js";
import {t} from "./texts.js";

const LIMITS = ["max_searches", "top_k", "max_documents", "max_tokens", "deadline_ms"];
const NEXT = {thought: "thinking", plan: "thinking", search: "searching", information: "reading", "answer.delta": "writing"};
const run = $("#run");
let asking = null;

export const person = () => $("#user").value.trim();

export function startAsking() {
  $("#question-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("#user").reportValidity()) submit();
  });
  $("#question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $("#question-form").requestSubmit();
  });
  $("#stop").addEventListener("click", () => asking?.abort());
}

/** Fill in the methods and, where the server lists them, the people. */
export async function loadChoices() {
  const {data} = await fetchJSON("v1/models");
  for (const {id, description} of data) {
    const user = id.startsWith("pr2:") ? id.slice(4) : null;
    if (user !== null) $("#users").append(h("option", {value: user}));
    else {
      const name = id.replace(/^pr2-/, "");
      $("#method").append(h("option", {value: name, title: description}, name));
    }
  }
}

async function submit() {
  asking?.abort();
  const mine = (asking = new AbortController());
  const user = person();
  const limits = Object.fromEntries(
    LIMITS.map((name) => [name, $(`[name=${name}]`).value]).filter(([, value]) => value !== "")
      .map(([name, value]) => [name, Number(value)]));
  const body = {question: $("#question").value.trim(), compare: $("#compare").checked};
  if ($("#method").value) body.method = $("#method").value;
  if (Object.keys(limits).length) body.limits = limits;
  const steps = begin(user);
  $("#stop").hidden = false;
  status("thinking");
  try {
    let ended = null;
    for await (const {event, data} of ask(user, body, mine.signal)) {
      if (event === "done") ended = data;
      else if (event === "error") $("#problem").replaceChildren(problemBox({problem: data}));
      else {
        steps.show({event, data});
        if (NEXT[event]) status(NEXT[event]);
      }
    }
    if (ended === null) throw new Error(t("cut_off"));
    if (ended.finish_reason === null) status("failed");
    else {
      finish(steps, ended);
      document.dispatchEvent(new Event("answered"));
    }
  } catch (error) {
    if (mine !== asking) return;
    if (mine.signal.aborted) status("stopped");
    else {
      status("failed");
      $("#problem").replaceChildren(problemBox(error));
    }
  } finally {
    if (mine === asking) $("#stop").hidden = true;
  }
}

function begin(user) {
  const steps = new Steps(user, "with_profile");
  $("#problem").replaceChildren();
  run.replaceChildren(h("div", {className: "sides"}, steps.node));
  return steps;
}

/** Show a stored answer like one that has just ended. */
export function reopen(body) {
  asking?.abort();
  asking = null;
  $("#stop").hidden = true;
  $("#question").value = body.question;
  const steps = begin(body.user);
  for (const step of body.trajectory.steps) steps.show({event: step.kind, data: step});
  finish(steps, body);
}

function finish(steps, body) {
  steps.finish(body);
  if (body.without_profile) {
    const other = new Steps(body.user, "without_profile");
    for (const step of body.without_profile.trajectory.steps) other.show({event: step.kind, data: step});
    other.finish(body.without_profile);
    $(".sides", run).append(other.node);
  }
  const download = told("a", "download", {}, {download: `${body.id}.json`});
  download.href = URL.createObjectURL(new Blob([JSON.stringify(body, null, 2)], {type: "application/json"}));
  run.append(h("p", {}, download),
    body.stored ? rating(body) : told("p", "not_stored", {}, {className: "problem"}));
  status(body.answer === null ? "failed" : "finished");
}

function status(key) {
  $("#status").replaceChildren(told("span", key));
}
