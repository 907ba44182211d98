// The pages work without this. It fetches parts of a page anew, counts while somebody writes, and says when contact is lost.
"use strict";

for (const part of document.querySelectorAll("[data-poll]")) {
  const every = Number(part.dataset.every || 5) * 1000;
  let misses = 0;
  const fetchAnew = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(part.dataset.poll, { signal: AbortSignal.timeout(8000), redirect: "manual" });
      if (answer.status === 401 || answer.type === "opaqueredirect") return lost("signedOut");
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      misses = 0;
      lost("");
      const busy = part.contains(document.activeElement) && document.activeElement !== document.body;
      if (text !== part.dataset.last && !busy) part.innerHTML = text;
      part.dataset.last = text;
    } catch {
      misses += 1;
      if (misses > 1) lost("noContact");
    }
  };
  setInterval(fetchAnew, every);
}

function lost(why) {
  const place = document.getElementById("lost");
  const said = why ? place.dataset[why] : "";
  if (place && place.textContent !== said) place.textContent = said;
}

// <textarea data-count="ADDRESS" data-into="ID">: what the server makes of the text while it is written.
for (const text of document.querySelectorAll("[data-count]")) {
  const into = document.getElementById(text.dataset.into);
  let waiting = 0;
  const count = async () => {
    const form = new FormData();
    form.set("text", text.value);
    form.set("language", text.dataset.language || "");
    form.set("exercise", text.dataset.exercise || "");
    form.set("csrf_token", text.form.querySelector("[name=csrf_token]").value);
    try {
      const answer = await fetch(text.dataset.count, { method: "POST", body: form, signal: AbortSignal.timeout(8000) });
      if (answer.ok) into.innerHTML = await answer.text();
    } catch { /* the button shows it too */ }
  };
  text.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(count, 250); });
  if (text.value) count();
}

// A second click on the button of a form that is on its way sends nothing: it would come too late to what the first did.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  const button = event.submitter ? `${event.submitter.name}=${event.submitter.value}@${event.submitter.formAction}` : "";
  const again = form.dataset.sent === button && event.timeStamp - Number(form.dataset.sentAt) < 5000;
  if (again) return event.preventDefault();
  form.dataset.sent = button;
  form.dataset.sentAt = event.timeStamp;
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

const errors = document.getElementById("errors");
if (errors) errors.focus();
