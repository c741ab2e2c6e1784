/** Calls of the REST API. The key is kept in this module only, and never stored. */
import {events} from "./sse.js";

let key = "";
let askForKey = async () => "";

/** Have `ask` called for a key when the server wants one; it resolves to "" to give up. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

/** A problem document (RFC 9457) of the server. */
export class Problem extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

export const hasKey = () => key !== "";

export const ofUser = (user, path) => `v1/users/${encodeURIComponent(user)}${path}`;

/** A response; throws Problem for every status that is not a success. */
export async function call(path, {headers, body, ...options} = {}) {
  const json = body !== undefined && !(body instanceof Blob);
  const response = await fetch(path, {
    ...options,
    body: json ? JSON.stringify(body) : body,
    headers: {
      ...(json ? {"content-type": "application/json"} : {}),
      ...(key ? {authorization: `Bearer ${key}`} : {}),
      ...headers,
    },
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({title: `${response.status} ${response.statusText}`}));
  if (response.status === 401) {
    const given = await askForKey();
    if (given) {
      key = given;
      return call(path, {headers, body, ...options});
    }
  }
  throw new Problem(problem.error ? {title: problem.error.message} : problem);
}

export const fetchJSON = async (path, options) => (await call(path, options)).json();

/** The events of an answer as they arrive: {event, data}. */
export async function* ask(user, body, signal) {
  const path = ofUser(user, "/answers");
  const response = await call(path, {method: "POST", body: {...body, stream: true}, signal});
  yield* events(response.body);
}
