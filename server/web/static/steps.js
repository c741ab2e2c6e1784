/** One way to an answer: its steps as they come, the answer with its citations, times and tokens. */
import {openDocument} from "./document.js";
import {$, h, marked, told} from "./dom.js";
import {day, number, seconds, t} from "./texts.js";

const MARK = /\[(\d{1,6}(?:\s*,\s*\d{1,6})*)\]/g;
const REASONS = {max_searches: "max_searches_reached", max_tokens: "max_tokens_reached", invalid: "invalid_reply"};

export class Steps {
  #user;
  #list = h("ol", {className: "steps"});
  #answer = h("div", {className: "answer", hidden: true});
  #after = h("div");
  #items = []; // one for each step of the trajectory, as citations count them
  #passages = new Map(); // by number
  #text = "";
  #at = 0;

  constructor(user, heading) {
    this.#user = user;
    this.node = h("section", {className: "side"}, told("h3", heading), this.#answer, this.#after, this.#list);
  }

  /** Show an event: a step, or a piece of the answer. */
  show({event, data}) {
    if (event === "answer.delta") return this.#write(this.#text + data.text, []);
    const taken = data.at_ms - this.#at;
    this.#at = data.at_ms;
    const item = this[`_${event}`](data);
    this.#items.push(item);
    item.prepend(h("span", {className: "meta"}, seconds(Math.max(taken, 0))));
    if (event !== "answer") this.#list.append(item);
    return undefined;
  }

  /** Show how it ended, from the answer's body or that of the answer without the history. */
  finish(outcome) {
    const {usage} = outcome;
    const reason = REASONS[outcome.finish_reason] ?? outcome.finish_reason;
    if (outcome.answer === null) {
      this.#answer.replaceChildren(told("strong", "no_answer"), ": ", told("span", reason));
      this.#answer.hidden = false;
    }
    const rows = [
      told("td", reason),
      ...["searches", "documents_read", "prompt_tokens", "policy_tokens"].map((name) => number(usage[name])),
      ...["policy_ms", "search_ms", "total_ms"].map((name) => seconds(usage[name])),
    ];
    const names = ["finish_reason", "searches", "documents_read", "prompt_tokens", "policy_tokens",
      "policy_ms", "search_ms", "total_ms"];
    const cell = (value) => (value instanceof Node ? value : h("td", {}, value));
    this.#after.replaceChildren(h("details", {},
      told("summary", "details"),
      h("table", {}, h("tbody", {}, names.map((name, at) =>
        h("tr", {}, Object.assign(told("th", name), {scope: "row"}), cell(rows[at])))))));
  }

  _thought = ({text}) => this.#step("thought", h("span", {className: "text"}, text));
  _plan = ({text}) => this.#step("plan", h("span", {className: "text"}, text));
  _invalid = ({reason}) => this.#step("invalid", reason);

  _search({query, after, before, problem}) {
    const days = [["from", after], ["before", before]].filter(([, limit]) => limit);
    return this.#step("search", h("q", {className: "text"}, query),
      days.map(([key, limit]) => [" ", told("span", key, {day: day(limit)}, {className: "meta"})]),
      problem ? [" ", told("span", "not_made", {why: problem})] : null);
  }

  _information({passages, notices = []}) {
    const item = h("li", {className: "information"},
      passages.length ? told("span", "information", {n: passages.length}, {className: "kind"})
        : told("span", "nothing_found", {}, {className: "kind"}),
      notices.map(({kind, said = ""}) => told("p", `${kind}_days`, {said}, {className: "meta"})),
      h("ol", {className: "passages"}, passages.map((read) => this.#passage(read))));
    return item;
  }

  _answer({text, citations}) {
    this.#write(text, citations);
    return this.#answer;
  }

  #step(kind, ...children) {
    return h("li", {className: kind}, told("span", kind, {}, {className: "kind"}), ...children);
  }

  #passage({number: mark, passage}) {
    const about = [passage.created_at && day(passage.created_at), passage.source,
      t("score", {score: number(passage.score, 3)}), passage.copies && t("copies", {n: passage.copies})];
    const text = h("div", {className: "text"}, passage.text);
    const open = h("button", {type: "button", className: "link"}, passage.title ?? t("open_document"));
    open.addEventListener("click", () => openDocument(this.#user, passage.document_id));
    const item = h("li", {}, h("strong", {}, `[${mark}] `), open,
      h("p", {className: "meta"}, about.filter(Boolean).join(" · ")), text);
    this.#passages.set(mark, {item, text, passage});
    return item;
  }

  #write(text, citations) {
    this.#text = text;
    this.#answer.hidden = false;
    const parts = [];
    let end = 0;
    // Only the finished answer has citations; until then, its marks are text.
    for (const mark of citations.length ? text.matchAll(MARK) : []) {
      parts.push(`${text.slice(end, mark.index)}[`);
      mark[1].split(",").forEach((one, at) => parts.push(at ? ", " : "", this.#mark(Number(one), citations)));
      parts.push("]");
      end = mark.index + mark[0].length;
    }
    const whole = h("div", {className: "text"}, ...parts, text.slice(end));
    this.#answer.replaceChildren(told("span", "answer", {}, {className: "kind"}), whole);
  }

  #mark(mark, citations) {
    const cited = citations.filter((citation) => citation.number === mark);
    if (!cited.length) return String(mark);
    const button = h("button", {type: "button", className: "mark", ariaLabel: t("cite", {n: mark})}, String(mark));
    for (const occasion of ["focus", "mouseenter"]) button.addEventListener(occasion, () => this.#light(cited));
    button.addEventListener("click", () => {
      this.#light(cited);
      openDocument(this.#user, cited[0].document_id, cited);
    });
    return button;
  }

  /** Light up the passage that is cited, its quotes, and the search that found it. */
  #light(cited) {
    for (const node of this.node.querySelectorAll(".lit")) {
      node.classList.remove("lit");
      node.removeAttribute("aria-current");
    }
    for (const {text, passage} of this.#passages.values()) text.replaceChildren(passage.text);
    const {item, text, passage} = this.#passages.get(cited[0].number);
    const search = this.#items.slice(0, cited[0].step).findLast((one) => one.classList.contains("search"));
    for (const node of search ? [item, search] : [item]) {
      node.classList.add("lit");
      node.setAttribute("aria-current", "true");
    }
    text.replaceChildren(...marked(passage.text,
      cited.map(({start, end}) => [start - passage.start, end - passage.start])));
    const mark = $("mark", text) ?? item;
    mark.scrollIntoView({block: "nearest"});
  }
}
