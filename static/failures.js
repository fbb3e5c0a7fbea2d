// @ts-check
// What can go wrong, in words a person understands, each with what to do about it.

/**
 * @typedef {"retry" | "key" | "type" | "wake" | ""} Remedy
 * @typedef {{title: string, advice: string, remedy: Remedy, again?: boolean}} Words
 * `remedy` names the button that is offered; `again`: another attempt by itself may help.
 */

/** @type {Record<string, Words>} */
const WORDS = {
  insecure: {
    title: "This page was not opened over a secure connection.",
    advice: "Browsers give the microphone to secure pages only. Open it over HTTPS, or on the server's own machine as http://localhost. You can type meanwhile.",
    remedy: "type",
  },
  unsupported: {
    title: "This browser cannot do it.",
    advice: "It lacks audio worklets. Use a current version of Chrome, Edge, Firefox or Safari.",
    remedy: "",
  },
  denied: {
    title: "The microphone is not allowed.",
    advice: "Allow it for this page in the browser's address bar, then try again. Or type instead.",
    remedy: "retry",
  },
  missing: {
    title: "No microphone was found.",
    advice: "Plug one in, then try again. Or type instead.",
    remedy: "retry",
  },
  taken: {
    title: "The microphone cannot be opened.",
    advice: "Another program may be using it. Close that one, or choose another microphone in the settings, then try again.",
    remedy: "retry",
  },
  unplugged: {
    title: "The microphone is gone.",
    advice: "Plug it in again, or choose another one in the settings.",
    remedy: "retry",
  },
  key: {
    title: "This server wants a key.",
    advice: "Ask whoever runs it. The key is kept until this page is closed, and stored nowhere.",
    remedy: "key",
  },
  origin: {
    title: "The server does not let this page in.",
    advice: "Open the page from the server itself, or have its address added to auth.origins.",
    remedy: "retry",
  },
  busy: {
    title: "All lines are busy.",
    advice: "The server takes no more calls just now. Try again in a few seconds.",
    remedy: "retry",
  },
  limit: {
    title: "This key has used what it may.",
    advice: "",
    remedy: "retry",
  },
  loading: {
    title: "The server is still loading its models.",
    advice: "That takes up to a minute after a start. This page tries again by itself.",
    remedy: "retry",
    again: true,
  },
  unreachable: {
    title: "The server does not answer.",
    advice: "It may be starting, or the network may be down. This page tries again by itself.",
    remedy: "retry",
    again: true,
  },
  lost: {
    title: "The connection was lost.",
    advice: "This page connects again by itself; what was said so far is kept.",
    remedy: "retry",
    again: true,
  },
  restart: {
    title: "The server restarts.",
    advice: "This page connects again by itself; what was said so far is kept.",
    remedy: "retry",
    again: true,
  },
  webrtc: {
    title: "WebRTC does not get through.",
    advice: "A firewall may be in the way. Choose WebSocket or Automatic in the settings.",
    remedy: "retry",
  },
  slow: {
    title: "The connection is too slow.",
    advice: "Sound could not be delivered in time, and the server has hung up. Try again.",
    remedy: "retry",
    again: true,
  },
  ended: {
    title: "The server has ended the call.",
    advice: "Press Talk to call again.",
    remedy: "retry",
  },
  broken: {
    title: "The server made a mistake.",
    advice: "What happened is in its log. Press Talk to call again.",
    remedy: "retry",
  },
  paused: {
    title: "The browser has paused the sound.",
    advice: "Press the button, or any key, to hear again.",
    remedy: "wake",
  },
  event: { title: "The server could not do that.", advice: "", remedy: "" },
};

const CLOSES = /** @type {Record<number, string>} */ ({
  1000: "ended",
  1001: "restart",
  1008: "ended",
  1011: "broken",
  1012: "restart",
  1013: "busy",
});

export class Failure extends Error {
  /** @param {string} kind @param {string} [detail] the server's own words */
  constructor(kind, detail = "") {
    super(detail || kind);
    this.kind = kind;
    this.words = { ...WORDS[kind] };
    if (detail) this.words.advice = `${sentence(detail)} ${this.words.advice}`.trim();
  }

  /** A WebSocket's end. @param {number} code @param {string} reason */
  static closed(code, reason) {
    if (code === 1013 && reason.includes("draining")) return new Failure("restart");
    if (code === 1013 && reason.includes("nothing was read")) return new Failure("slow");
    if (reason.includes("this key")) return new Failure("limit", reason);
    return new Failure(CLOSES[code] ?? "lost", code === 1000 || code === 1008 ? reason : "");
  }

  /** An HTTP answer that is a refusal. @param {Response} response @param {string} otherwise */
  static async refused(response, otherwise) {
    const body = await response.json().catch(() => ({}));
    const { status } = response;
    if (status === 401) return new Failure("key");
    if (status === 403) return new Failure("origin");
    if (status === 503 && body.status === "draining") return new Failure("restart");
    if (status === 503 && (body.status === "loading" || body.error?.code === "loading")) return new Failure("loading");
    if (status === 429) return new Failure("limit", body.error?.message);
    if (status === 503) return new Failure("busy");
    return new Failure(otherwise, otherwise === "webrtc" ? "" : body.error?.message);
  }

  /** What getUserMedia raised. @param {Error} error */
  static microphone(error) {
    const kinds = /** @type {Record<string, string>} */ ({
      NotAllowedError: "denied",
      SecurityError: "denied",
      NotFoundError: "missing",
      NotReadableError: "taken",
      AbortError: "taken",
    });
    return new Failure(kinds[error.name] ?? "taken");
  }
}

/** Why a connection could not be made: a WebSocket does not tell, so the server is asked. @param {URL} url @param {string} key @param {Failure} failure */
export async function diagnose(url, key, failure) {
  if (failure.kind !== "lost") return failure;
  const headers = key ? { Authorization: `Bearer ${key}` } : undefined;
  try {
    const ready = await fetch(new URL("readyz", url));
    if (!ready.ok) return await Failure.refused(ready, "busy");
    const models = await fetch(new URL("v1/models", url), { headers });
    return models.ok ? failure : await Failure.refused(models, "broken");
  } catch {
    return new Failure("unreachable");
  }
}

/** @param {string} text */
function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
