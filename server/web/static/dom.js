/** Builds elements. Strings become text nodes, never markup. */
import {t} from "./texts.js";

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element: `props` are properties of the object, children are nodes, strings or nothing. */
export function h(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element with a text of the page, which follows the language. */
export function told(tag, key, values = {}, props = {}) {
  const node = h(tag, props, t(key, values));
  node.dataset.t = key;
  node.dataset.values = JSON.stringify(values);
  return node;
}

/** `text` with its ranges [start, end) marked. They count code points, as the API does, not UTF-16 units. */
export function marked(text, ranges) {
  const points = Array.from(text);
  const pieces = [];
  let at = 0;
  for (const [start, end] of [...ranges].sort((one, other) => one[0] - other[0])) {
    const from = Math.max(start, at);
    if (end <= from || from >= points.length) continue;
    pieces.push(points.slice(at, from).join(""), h("mark", {}, points.slice(from, end).join("")));
    at = end;
  }
  return [...pieces, points.slice(at).join("")];
}

/** Ask before something is deleted: resolves to whether to go on. */
export function confirmed(subject) {
  const dialog = $("#confirm");
  $("p", dialog).textContent = subject;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), {once: true});
  });
}

/** Run an action, and show people its failure at the top of the page. */
export async function acted(action) {
  $("#problem").replaceChildren();
  try {
    await action();
  } catch (error) {
    $("#problem").replaceChildren(problemBox(error));
  }
}

/** A problem as people read it: its title, and the detail. */
export function problemBox(error) {
  const problem = error.problem ?? {title: t("unreachable"), detail: error.message};
  return h("div", {className: "problem"},
    h("p", {}, h("strong", {}, problem.title ?? t("failed"))),
    problem.detail ? h("p", {}, problem.detail) : null);
}
