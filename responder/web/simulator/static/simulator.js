// Phones: each has a screen, a text box and a keypad. The server signs what they do as the provider would, and the
// webhooks answer; what the service sends by itself is fetched once a second.
"use strict";

const place = document.getElementById("phones");
const said = JSON.parse(place.dataset.said);
const phones = new Map();
const KEPT = "phones";

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const ranges = {
  mobile: Array.from({ length: 95 }, (_, n) => `+46701740${605 + n}`),
  landline: Array.from({ length: 100 }, (_, n) => `+468465004${String(n).padStart(2, "0")}`),
};

function pretty(number) {
  const own = "0" + number.slice(3);
  return own.startsWith("07")
    ? own.replace(/(...)(...)(..)(..)/, "$1-$2 $3 $4")
    : own.replace(/(..)(...)(...)(..)/, "$1-$2 $3 $4");
}

async function post(address, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  const headers = { "X-CSRFToken": place.dataset.token };
  const answer = await fetch(address, { method: "POST", body: form, headers, signal: AbortSignal.timeout(20000) });
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}

function aloud(sentences) {
  if (!window.speechSynthesis || !document.getElementById("aloud").checked) return;
  for (const one of sentences) {
    const utterance = new SpeechSynthesisUtterance(one.text);
    if (one.lang) utterance.lang = one.lang;
    speechSynthesis.speak(utterance);
  }
}

function hush() {
  if (window.speechSynthesis) speechSynthesis.cancel();
}

class Phone {
  constructor(number) {
    this.number = number;
    this.seen = new Set();
    this.call = null; // {call, action, digits} of a call to the service, {id} of one from it
    this.entered = "";
    this.work = Promise.resolve();
    this.box = document.getElementById("phone").content.firstElementChild.cloneNode(true);
    const name = filled(said.phone, { number: pretty(number) });
    const heading = this.find("h2");
    heading.textContent = name;
    heading.id = `phone-${number.slice(1)}`;
    this.box.dataset.number = number;
    this.box.setAttribute("aria-labelledby", heading.id);
    this.find(".screen").setAttribute("aria-label", name);
    this.find(".document").setAttribute("aria-label", `TwiML, ${name}`);
    this.find(".texting").addEventListener("submit", (event) => this.stay(event, () => this.text()));
    this.find(".call").addEventListener("click", () => this.doing(() => this.begin()));
    this.find(".enter").addEventListener("click", () => this.doing(() => this.enter()));
    this.find(".silence").addEventListener("click", () => this.doing(() => this.turn({}, said.silence)));
    this.find(".hang-up").addEventListener("click", () => this.doing(() => this.hangUp()));
    this.find(".speaking").addEventListener("submit", (event) => this.stay(event, () => this.speak()));
    for (const key of this.box.querySelectorAll(".key")) {
      key.addEventListener("click", () => this.doing(() => this.press(key.value)));
    }
    this.find(".remove").addEventListener("click", () => remove(this));
    place.append(this.box);
  }

  find(selector) { return this.box.querySelector(selector); }

  stay(event, work) {
    event.preventDefault();
    this.doing(work);
  }

  // One thing after another, as on a real line.
  doing(work) {
    this.work = this.work.then(work).catch(() => this.line("aside", said.failed));
  }

  line(kind, text, from, lang) {
    const bubble = document.createElement("p");
    bubble.className = `bubble ${kind}`;
    if (from) {
      const head = document.createElement("span");
      head.className = "from";
      head.textContent = from;
      bubble.append(head);
    }
    const words = document.createElement("span");
    words.textContent = text;
    if (lang) words.lang = lang;
    bubble.append(words);
    return this.add(bubble);
  }

  add(bubble) {
    const screen = this.find(".screen");
    screen.append(bubble);
    screen.scrollTop = screen.scrollHeight;
    return bubble;
  }

  async text() {
    const box = this.find("textarea");
    const words = box.value.trim();
    if (!words) return;
    box.value = "";
    const answer = await post(place.dataset.text, { number: this.number, text: words });
    this.line("mine", words, `${said.you}, ${answer.at} (${answer.sent})`);
    if (answer.reply) this.line("theirs", answer.reply, `${said.service}, ${answer.at} (${answer.segments})`);
    else this.line("aside", said.none);
    this.show(answer.document);
  }

  async begin() {
    this.line("aside", said.calling);
    this.hear(await post(place.dataset.call, { number: this.number }));
    this.open();
  }

  async press(key) {
    if (!this.call) return;
    this.entered += key;
    this.find(".entered").textContent = this.entered;
    if (key === "*" || key === "#" || this.entered.length >= this.call.digits) await this.enter();
  }

  async enter() {
    const keys = this.entered;
    if (keys) await this.turn({ keys }, filled(said.keys, { keys }));
  }

  async speak() {
    const box = this.find(".speaking input");
    const words = box.value.trim();
    if (!words) return;
    box.value = "";
    await this.turn({ speech: words }, filled(said.spoken, { words }));
  }

  async turn(fields, told) {
    if (!this.call) return;
    this.forget();
    this.line("mine", told);
    if (this.call.id) {
      if (!fields.keys) return this.close(); // our calls ask for a key once; whoever presses none is done
      const address = place.dataset.answered.replace(/0$/, this.call.id);
      this.hear(await post(address, { number: this.number, keys: fields.keys }));
      return;
    }
    const { call, action } = this.call;
    this.hear(await post(place.dataset.turn, { number: this.number, call, action, ...fields }));
  }

  hear(answer) {
    hush();
    for (const one of answer.said) this.line("theirs", one.text, "", one.lang);
    aloud(answer.said);
    this.show(answer.document);
    this.call = answer.action ? answer : null;
    if (!this.call) this.close();
  }

  async hangUp() {
    hush();
    if (this.call && this.call.call) await post(place.dataset.hangUp, { number: this.number, call: this.call.call });
    this.close();
  }

  open() {
    if (!this.call) return;
    this.find(".texting").hidden = true;
    this.find(".calling").hidden = false;
    this.find(".speaking").hidden = Boolean(this.call.id);
    this.find(".key").focus();
  }

  close() {
    const inside = this.find(".calling").contains(document.activeElement);
    this.call = null;
    this.forget();
    this.line("aside", said.over);
    this.find(".calling").hidden = true;
    this.find(".texting").hidden = false;
    if (inside) this.find(".call").focus();
  }

  forget() {
    this.entered = "";
    this.find(".entered").textContent = "";
  }

  show(twiml) {
    this.find(".document").textContent = twiml.replace(/></g, ">\n<");
  }

  arrive(one) {
    if (this.seen.has(one.key)) return;
    this.seen.add(one.key);
    if (!one.call) return this.line("theirs", one.text, `${said.service}, ${one.at} (${one.segments})`);
    const bubble = document.getElementById("incoming").content.firstElementChild.cloneNode(true);
    bubble.querySelector(".from").textContent = `${one.at}: ${said.ringing}`;
    const button = bubble.querySelector("button");
    button.addEventListener("click", () => this.doing(async () => {
      button.remove();
      if (this.call) await this.hangUp();
      this.line("aside", said.answered);
      for (const sentence of one.said) this.line("theirs", sentence.text, "", sentence.lang);
      hush();
      aloud(one.said);
      this.show(one.document);
      this.call = { id: one.id, digits: 1 };
      this.open();
    }));
    return this.add(bubble);
  }
}

function keep() {
  try { sessionStorage.setItem(KEPT, [...phones.keys()].join(" ")); } catch { /* they are the usual ones next time */ }
}

function kept() {
  try { return sessionStorage.getItem(KEPT); } catch { return null; }
}

function add(number) {
  const phone = new Phone(number);
  phones.set(number, phone);
  keep();
  return phone;
}

function remove(phone) {
  if (phone.call) phone.doing(() => phone.hangUp());
  phone.box.remove();
  phones.delete(phone.number);
  keep();
  notice(filled(said.taken, { number: pretty(phone.number) }));
  document.getElementById("add-mobile").focus();
}

function notice(text) { document.getElementById("notice").textContent = text; }

for (const kind of ["mobile", "landline"]) {
  document.getElementById(`add-${kind}`).addEventListener("click", () => {
    const number = ranges[kind].find((one) => !phones.has(one));
    notice(number ? "" : said.full);
    if (number) add(number).find("h2").focus();
  });
}

async function fetchArrived() {
  if (phones.size && !document.hidden) {
    const numbers = [...phones.keys()].map((one) => `number=${encodeURIComponent(one)}`).join("&");
    try {
      const answer = await fetch(`${place.dataset.arrived}?${numbers}`, { signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(answer.status);
      for (const [number, rows] of Object.entries(await answer.json())) {
        for (const one of rows) phones.get(number)?.arrive(one);
      }
      lost("");
    } catch {
      lost("noContact");
    }
  }
  setTimeout(fetchArrived, 1000);
}

for (const number of (kept() ?? place.dataset.first).split(" ")) if (number) add(number);
fetchArrived();
