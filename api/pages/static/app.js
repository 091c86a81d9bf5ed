// Times in the viewer's zone, ages that count on, and the live tiles. Pages work without this script.
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

function localTimes(root) {
  for (const one of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(one.dateTime);
    const day = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false };
    const there = one.textContent.trim();
    const here = new Intl.DateTimeFormat("en-GB", day).format(at);
    one.dataset.local = zone;
    const clock = (text) => text.match(/\d\d:\d\d/)?.[0];
    // The site's own time stays beside it where the clocks differ.
    const onSite = `${clock(there)} ${there.split(" ").pop()}`;
    one.textContent = clock(here) === clock(there) ? here : `${here} (${onSite} on site)`;
  }
}

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 10) return "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.round(s / 60)} min ago`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

function ages() {
  for (const one of document.querySelectorAll("[data-since]")) {
    const stale = one.closest(".stale") ? "last " : "";
    const text = stale + age(Date.now() - Number(one.dataset.since));
    if (one.textContent !== text) one.textContent = text;
  }
}

function announce(text) {
  const place = document.getElementById("announcements");
  if (place) place.textContent = text;
}

function live(list) {
  const problem = document.getElementById("connection");
  let source, heard;

  async function fetchAgain() {
    const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
    if (answer.status === 401) {
      location.assign(answer.headers.get("HX-Redirect") || "/sign-in");
      return;
    }
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    Idiomorph.morph(document.getElementById("main"), fresh.getElementById("main").innerHTML, { morphStyle: "innerHTML" });
    localTimes(document);
    ages();
  }

  function open() {
    source?.close();
    heard = Date.now();
    source = new EventSource(list.dataset.changes);
    source.onopen = () => {
      heard = Date.now();
      if (problem.hidden === false) fetchAgain();
      problem.hidden = true;
    };
    source.onerror = () => { problem.hidden = false; };
    source.addEventListener("alive", () => { heard = Date.now(); });
    source.addEventListener("tiles", (event) => {
      heard = Date.now();
      const box = document.createElement("template");
      box.innerHTML = event.data;
      for (const tile of box.content.children) {
        const old = document.getElementById(tile.id);
        if (old) Idiomorph.morph(old, tile);
      }
      ages();
    });
    source.addEventListener("order", (event) => {
      announce(event.data);
      fetchAgain();
    });
  }

  open();
  // Phones drop streams without a word: look again when the page is seen, and when nothing was heard for long.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { open(); fetchAgain(); }
  });
  setInterval(() => {
    if (Date.now() - heard > 45000) { problem.hidden = false; open(); }
  }, 5000);
}

localTimes(document);
ages();
setInterval(ages, 5000);
const tiles = document.getElementById("tiles");
if (tiles?.dataset.changes) live(tiles);
