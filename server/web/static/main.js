/** Starts the page. */
import {onKeyWanted} from "./api.js";
import {loadChoices, startAsking} from "./ask.js";
import {askForKey} from "./document.js";
import {$, problemBox} from "./dom.js";
import {startPast} from "./past.js";
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
loadChoices().catch((error) => $("#problem").replaceChildren(problemBox(error)));
