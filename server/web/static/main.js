/** Starts the page. */
import {onKeyWanted} from "./api.js";
import {loadChoices, startAsking} from "./ask.js";
import {askForKey} from "./document.js";
import {$, problemBox} from "./dom.js";
import {startPast} from "./past.js";
import {loadProfile, startProfile} from "./profile.js";
import {current, speak} from "./texts.js";

onKeyWanted(askForKey);
$("#language").value = current();
$("#language").addEventListener("change", (event) => speak(event.target.value));
$("#theme").addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});
speak();
startAsking();
startPast();
startProfile();
for (const tab of document.querySelectorAll("[data-view]")) {
  tab.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-view]")) {
      $(`#${other.dataset.view}`).hidden = other !== tab;
      if (other === tab) other.setAttribute("aria-current", "page");
      else other.removeAttribute("aria-current");
    }
    $("#problem").replaceChildren();
    if (tab.dataset.view === "profile") loadProfile();
  });
}
loadChoices().catch((error) => $("#problem").replaceChildren(problemBox(error)));
