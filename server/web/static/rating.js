/** What the person says of an answer: a thumb, a comment, and the citations that helped. */
import {call, ofUser} from "./api.js";
import {acted, h, told} from "./dom.js";
import {t} from "./texts.js";

/** A form for the answer with this body, filled in with what was said before. */
export function rating({user, id, citations, feedback}) {
  const name = `rating-${id}`;
  const thumb = (value) => {
    const input = h("input", {type: "radio", name, value, required: true, checked: feedback?.rating === value});
    return h("label", {}, input, told("span", value));
  };
  const numbers = [...new Set(citations.map((citation) => citation.number))].sort((one, other) => one - other);
  const boxes = numbers.map((number) => {
    const input = h("input", {type: "checkbox", value: number, checked: feedback?.helped.includes(number) ?? false});
    return h("label", {}, input, `[${number}]`);
  });
  const comment = h("textarea", {rows: 2, maxLength: 4000, value: feedback?.comment ?? "", ariaLabel: t("comment")});
  const said = h("span", {className: "meta", role: "status"});
  const form = h("form", {className: "rating"},
    h("fieldset", {}, told("legend", "rate"), thumb("up"), " ", thumb("down")),
    boxes.length ? h("fieldset", {}, told("legend", "helped"), boxes.flatMap((box) => [box, " "])) : null,
    h("label", {}, told("span", "comment"), comment),
    told("button", "rate_send", {}, {type: "submit"}), " ", said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    acted(async () => {
      const helped = boxes.map((box) => box.firstChild).filter((box) => box.checked).map((box) => Number(box.value));
      const body = {rating: new FormData(form).get(name), comment: comment.value, helped};
      await call(ofUser(user, `/answers/${encodeURIComponent(id)}/feedback`), {method: "POST", body});
      said.replaceChildren(told("span", "rated"));
    });
  });
  return form;
}
