"use strict";
// What pages cannot do by themselves: times in the reader's own zone, counting down; lists that follow changes; a device's
// key, made here and sent nowhere; its configuration as a QR code. Without it everything else works.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Times.
  const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const span = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 86400) return s % 3600 < 60 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  };
  const tell = (element) => {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) return;
    const seconds = (at - Date.now()) / 1000;
    const look = element.dataset.look;
    let text = date.format(at);
    if (look === "ago") text = seconds > -5 ? "just now" : `${span(-seconds)} ago`;
    if (look === "left") {
      const m = Math.floor(Math.max(0, seconds) / 60);
      text = seconds <= 0 ? "over" : seconds < 600 ? `${m}:${String(Math.floor(seconds) % 60).padStart(2, "0")} left` : `${span(seconds)} left`;
      element.classList.toggle("soon", seconds < 600);
    }
    if (look !== "date") element.title = date.format(at);
    if (element.textContent !== text) element.textContent = text;
  };
  const tellAll = () => $$("time[data-look]").forEach(tell);
  setInterval(tellAll, 1000);

  // What is said for a moment, or until it is read.
  const notice = (text, tone, key) => {
    const place = $("#notices");
    if (!place) return;
    let said = key && $$("p", place).find((p) => p.dataset.key === key);
    if (!said) {
      said = document.createElement("p");
      place.append(said);
    }
    said.className = `notice ${tone}`;
    if (key) said.dataset.key = key;
    said.textContent = text;
  };

  // Lists that follow changes: the API says what changed, and what shows such things asks for itself anew.
  const waiting = new Map();
  const changed = (kind) => {
    if (waiting.has(kind)) return;
    waiting.set(kind, setTimeout(() => {
      waiting.delete(kind);
      document.body.dispatchEvent(new CustomEvent(`sluice:${kind}`));
      document.body.dispatchEvent(new CustomEvent("sluice:change"));
    }, 250));
  };
  const kinds = ["session", "target", "connector", "router", "mapping", "user", "role", "tenant", "device"];
  const follow = () => {
    const source = new EventSource("/api/v1/events");
    let begun = false;
    source.addEventListener("ready", () => {
      if (begun) kinds.forEach(changed);
      begun = true;
    });
    source.addEventListener("missed", () => kinds.forEach(changed));
    source.addEventListener("change", (event) => {
      const change = JSON.parse(event.data);
      const expires = /^expires in (\d+) s$/.exec(change.what);
      if (expires && $(`#open-${CSS.escape(change.id)}`)) {
        const name = $(`#open-${CSS.escape(change.id)} h3`).textContent;
        notice(`Your access to ${name} ends in ${span(Number(expires[1]))}. Extend it, or save your work.`, "warn", change.id);
      }
      changed(change.kind);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  };

  // A device's key pair: X25519 as the browser has it. The private half stays in this variable and in the page that shows it.
  let pair = null;
  const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
  const unbase64url = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const makePair = async () => {
    const keys = await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
    const jwk = await crypto.subtle.exportKey("jwk", keys.privateKey);
    return { private: base64(unbase64url(jwk.d)), public: base64(unbase64url(jwk.x)) };
  };
  const offerKey = async (form) => {
    const own = $("[data-own-key]", form);
    const input = $("input", own);
    if (!input || input.value) return;
    try {
      pair = await makePair();
    } catch {
      return; // A browser without X25519: the field is there, and says how to make a key.
    }
    input.value = pair.public;
    const fold = document.createElement("details");
    fold.className = "field";
    const summary = document.createElement("summary");
    summary.textContent = "Use a key of my own";
    fold.append(summary);
    own.before(fold);
    fold.append(own);
    if ($(".wrong", own)) fold.open = true;
  };
  const showConfiguration = (card) => {
    const place = $("[data-private-key]", card);
    if (!place || !pair || pair.public !== card.dataset.publicKey) return;
    place.textContent = pair.private;
    const text = $("#configuration").textContent;
    const drawn = qr(text);
    if (drawn) {
      $("#qr").prepend(drawn);
      $("#qr").hidden = false;
    }
    const download = $("[data-download]", card);
    download.hidden = false;
    download.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
      // What WireGuard takes for the name of an interface.
      link.download = `${card.dataset.device.replace(/[^A-Za-z0-9_=+.-]/g, "-").slice(0, 15)}.conf`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  };

  // QR codes (ISO/IEC 18004): bytes, error correction L, versions 1 to 20.
  const CODEWORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346, 404, 466, 532, 581, 655, 733, 815, 901, 991, 1085];
  const CHECKS = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28];
  const BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8];
  const EXP = new Uint8Array(512);
  const LOG = new Uint8Array(256);
  for (let i = 0, x = 1; i < 255; i++) {
    EXP[i] = EXP[i + 255] = x;
    LOG[x] = i;
    x = x << 1 ^ (x >> 7) * 0x11d;
  }
  const product = (a, b) => a && b ? EXP[LOG[a] + LOG[b]] : 0;
  const checksOf = (data, count) => {
    let generator = [1];
    for (let i = 0; i < count; i++) {
      const next = [...generator, 0];
      generator.forEach((c, j) => { next[j + 1] ^= product(c, EXP[i]); });
      generator = next;
    }
    const rest = new Uint8Array(count);
    for (const byte of data) {
      const factor = byte ^ rest[0];
      rest.copyWithin(0, 1);
      rest[count - 1] = 0;
      for (let j = 0; j < count; j++) rest[j] ^= product(generator[j + 1], factor);
    }
    return rest;
  };
  const modules = (text) => {
    const bytes = new TextEncoder().encode(text);
    const version = CODEWORDS.findIndex((all, v) => all - CHECKS[v] * BLOCKS[v] >= bytes.length + (v < 9 ? 2 : 3)) + 1;
    if (!version) return null;
    const v = version - 1;
    const capacity = CODEWORDS[v] - CHECKS[v] * BLOCKS[v];
    const bits = [];
    const put = (value, length) => { for (let i = length - 1; i >= 0; i--) bits.push(value >> i & 1); };
    put(4, 4);
    put(bytes.length, version < 10 ? 8 : 16);
    bytes.forEach((byte) => put(byte, 8));
    put(0, Math.min(4, capacity * 8 - bits.length));
    while (bits.length % 8) bits.push(0);
    const data = [];
    for (let i = 0; i < bits.length; i += 8) data.push(parseInt(bits.slice(i, i + 8).join(""), 2));
    for (let pad = 0xec; data.length < capacity; pad ^= 0xfd) data.push(pad);
    const short = Math.floor(capacity / BLOCKS[v]);
    const blocks = [];
    for (let b = 0, at = 0; b < BLOCKS[v]; b++) {
      const length = short + (b >= BLOCKS[v] - capacity % BLOCKS[v] ? 1 : 0);
      blocks.push(data.slice(at, at += length));
    }
    const checks = blocks.map((block) => checksOf(block, CHECKS[v]));
    const words = [];
    for (let i = 0; i <= short; i++) blocks.forEach((block) => { if (i < block.length) words.push(block[i]); });
    for (let i = 0; i < CHECKS[v]; i++) checks.forEach((block) => words.push(block[i]));

    const size = version * 4 + 17;
    const dark = Array.from({ length: size }, () => new Uint8Array(size));
    const fixed = Array.from({ length: size }, () => new Uint8Array(size));
    const set = (x, y, on) => {
      if (x >= 0 && y >= 0 && x < size && y < size) {
        dark[y][x] = on ? 1 : 0;
        fixed[y][x] = 1;
      }
    };
    for (let i = 0; i < size; i++) {
      set(6, i, i % 2 === 0);
      set(i, 6, i % 2 === 0);
    }
    for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
      for (let dy = -4; dy <= 4; dy++) for (let dx = -4; dx <= 4; dx++) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
      }
    }
    const places = [];
    if (version > 1) {
      const count = Math.floor(version / 7) + 2;
      const step = Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
      for (let i = 0, at = size - 7; i < count - 1; i++, at -= step) places.unshift(at);
      places.unshift(6);
    }
    for (const cy of places) for (const cx of places) {
      if (cx === 6 && cy === 6 || cx === 6 && cy === size - 7 || cx === size - 7 && cy === 6) continue;
      for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    }
    const format = (mask) => {
      const value = 1 << 3 | mask;
      let rest = value;
      for (let i = 0; i < 10; i++) rest = rest << 1 ^ (rest >> 9) * 0x537;
      const all = (value << 10 | rest) ^ 0x5412;
      const bit = (i) => all >> i & 1;
      for (let i = 0; i <= 5; i++) set(8, i, bit(i));
      set(8, 7, bit(6));
      set(8, 8, bit(7));
      set(7, 8, bit(8));
      for (let i = 9; i < 15; i++) set(14 - i, 8, bit(i));
      for (let i = 0; i < 8; i++) set(size - 1 - i, 8, bit(i));
      for (let i = 8; i < 15; i++) set(8, size - 15 + i, bit(i));
      set(8, size - 8, true);
    };
    format(0);
    if (version >= 7) {
      let rest = version;
      for (let i = 0; i < 12; i++) rest = rest << 1 ^ (rest >> 11) * 0x1f25;
      const all = version << 12 | rest;
      for (let i = 0; i < 18; i++) {
        const a = size - 11 + i % 3;
        const b = Math.floor(i / 3);
        set(a, b, all >> i & 1);
        set(b, a, all >> i & 1);
      }
    }
    let at = 0;
    for (let right = size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5;
      for (let i = 0; i < size; i++) for (let j = 0; j < 2; j++) {
        const x = right - j;
        const y = (right + 1 & 2) === 0 ? size - 1 - i : i;
        if (!fixed[y][x] && at < words.length * 8) {
          dark[y][x] = words[at >> 3] >> (7 - (at & 7)) & 1;
          at++;
        }
      }
    }
    // Any mask can be read; this one breaks up long runs as well as most.
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (!fixed[y][x] && (x + y) % 2 === 0) dark[y][x] ^= 1;
    return dark;
  };
  const qr = (text) => {
    const dark = modules(text);
    if (!dark) return null;
    const size = dark.length + 8;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${size} ${size}`);
    svg.setAttribute("shape-rendering", "crispEdges");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", "The configuration as a QR code");
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("fill", "#000");
    path.setAttribute("d", dark.map((line, y) => [...line].map((on, x) => on ? `M${x + 4} ${y + 4}h1v1h-1z` : "").join("")).join(""));
    svg.append(path);
    return svg;
  };

  // Everything that a page, or a part that was swapped in, needs once.
  const dress = (root) => {
    $$("time[data-look]", root).forEach(tell);
    $$("form[data-key]", root).forEach(offerKey);
    $$("[data-device][data-public-key]", root).forEach(showConfiguration);
    $$("[data-copy]", root).forEach((button) => {
      if (!navigator.clipboard) return;
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText($(button.dataset.copy).textContent);
        button.textContent = "Copied";
      });
    });
    $$("form[data-token-from-address]", root).forEach((form) => {
      const token = decodeURIComponent(location.hash.slice(1));
      if (token.startsWith("slu_")) {
        $("input[name='/token']", form).value = token;
        history.replaceState(null, "", location.pathname);
        $("input[name='/user']", form).focus();
      }
    });
    $$("[data-tick-all]", root).forEach((all) => all.addEventListener("change", () => {
      $$("input[name='id']", all.closest("form")).forEach((box) => { box.checked = all.checked; });
    }));
  };
  // A list that somebody is at work in stays as it is until they are done; an error does not replace it.
  const isBusy = (live) => $("details.fold[open]", live) || $("input[name='id']:checked", live)
    || live.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
  document.addEventListener("htmx:before:request", (event) => {
    const source = event.detail.ctx.sourceElement;
    if (source.id === "live" && isBusy(source)) event.preventDefault();
  });
  document.addEventListener("htmx:before:swap", (event) => {
    const { sourceElement, response } = event.detail.ctx;
    if (sourceElement.id === "live" && response && response.status >= 400) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => dress(document));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") $$("details.menu[open]").forEach((menu) => { menu.open = false; });
    if (event.key === "/" && !event.target.closest("input, textarea, select")) {
      const search = $("main input[type='search']");
      if (search) {
        event.preventDefault();
        search.focus();
      }
    }
  });
  dress(document);
  if (document.body.hasAttribute("data-live") && window.EventSource) follow();
})();
