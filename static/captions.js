// The page of one room: the element, and what its reader wants it to look like.
"use strict";

const room = decodeURIComponent(location.pathname.split("/").pop());
const SIZES = [1, 1.25, 1.5, 2, 2.5, 3, 4, 5]; // rem
const DEFAULTS = { size: 3, contrast: "auto", position: "full" };
const TICKET = `captions-ticket-${room}`;

let key = ""; // in memory only, to renew the ticket with

const byId = (id) => document.getElementById(id);
const captions = document.createElement("live-captions");
const settings = { ...DEFAULTS, ...kept() };

byId("room").textContent = room;
document.title = `${room} – captions`;
captions.setAttribute("history", "");
captions.setAttribute("room", room);
const ticket = sessionStorage.getItem(TICKET);
if (ticket) captions.ticket = ticket;
captions.addEventListener("captionsstate", ({ detail }) => {
  if (detail.state === "refused") refused();
});
document.querySelector("main").append(captions);
apply();
link();

byId("smaller").addEventListener("click", () => change({ size: Math.max(0, settings.size - 1) }));
byId("larger").addEventListener("click", () => change({ size: Math.min(SIZES.length - 1, settings.size + 1) }));
byId("contrast").addEventListener("change", ({ target }) => change({ contrast: target.value }));
byId("position").addEventListener("change", ({ target }) => change({ position: target.value }));
byId("entry").addEventListener("submit", enter);
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && byId("menu").open) {
    byId("menu").open = false;
    byId("menu").firstElementChild.focus();
  }
});
document.addEventListener("pointerdown", ({ target }) => {
  if (!byId("menu").contains(target)) byId("menu").open = false;
});

function kept() {
  try {
    const { size, contrast, position } = JSON.parse(localStorage.getItem("captions") || "{}");
    const known = (id, value) => [...byId(id).options].some((option) => option.value === value);
    return {
      ...(Number.isInteger(size) && SIZES[size] && { size }),
      ...(known("contrast", contrast) && { contrast }),
      ...(known("position", position) && { position }),
    };
  } catch {
    return {}; // what was kept is no use, or nothing may be kept here
  }
}

function change(wanted) {
  Object.assign(settings, wanted);
  apply();
  try {
    localStorage.setItem("captions", JSON.stringify(settings));
  } catch {
    return; // nothing may be kept here; it holds for this visit
  }
}

function apply() {
  const { size, contrast, position } = settings;
  document.documentElement.dataset.contrast = contrast;
  document.documentElement.dataset.position = position;
  captions.style.setProperty("--captions-size", `${SIZES[size]}rem`);
  byId("size").textContent = String(size + 1);
  byId("smaller").disabled = size === 0;
  byId("larger").disabled = size === SIZES.length - 1;
  byId("contrast").value = contrast;
  byId("position").value = position;
}

function link() {
  const query = captions.ticket ? `?download&ticket=${encodeURIComponent(captions.ticket)}` : "?download";
  for (const kind of ["txt", "srt", "vtt"]) byId(kind).href = `/v1/captions/${encodeURIComponent(room)}.${kind}${query}`;
}

/** The ticket is no longer good, or there is none. */
async function refused() {
  sessionStorage.removeItem(TICKET);
  if (key && !(await exchange())) return;
  captions.hidden = true;
  byId("entry").hidden = false;
  byId("key").focus();
}

async function enter(event) {
  event.preventDefault();
  key = byId("key").value;
  byId("mistake").textContent = await exchange();
}

/** Get a ticket for the key and read with it; what went wrong, if anything did. */
async function exchange() {
  try {
    const answer = await fetch(`/v1/captions/${encodeURIComponent(room)}/tickets`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}` },
    });
    if (answer.status === 401) return "This key is not valid here.";
    if (!answer.ok) return `The server cannot give access now (${answer.status}).`;
    const { ticket } = await answer.json();
    sessionStorage.setItem(TICKET, ticket);
    byId("key").value = "";
    byId("entry").hidden = true;
    captions.hidden = false;
    captions.ticket = ticket;
    link();
    return "";
  } catch {
    return "The server cannot be reached.";
  }
}
