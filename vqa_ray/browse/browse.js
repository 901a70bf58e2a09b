// The page works without this: it adds searching in place, images to search by, the keyboard and the open row.
(() => {
  "use strict";
  const form = document.getElementById("search");
  const waiting = document.getElementById("waiting");
  const dialog = document.getElementById("row");
  const wide = matchMedia("(min-width: 761px)");
  let running = null;

  const get = id => document.getElementById(id);
  const cards = () => [...document.querySelectorAll(".card .open")];
  // What #summary says is read out from a place that stays when the page is replaced.
  const say = () => { get("said").textContent = get("summary").textContent; };
  const tell = text => { get("summary").textContent = text; say(); };

  // One request at a time: a later one, and Esc, end the one before.
  const ask = async (url, options = {}) => {
    if (running) running.abort();
    const mine = running = new AbortController();
    const slow = setTimeout(() => { waiting.hidden = false; get("said").textContent = waiting.textContent; }, 200);
    get("page").setAttribute("aria-busy", "true");
    try {
      return await fetch(url, {...options, signal: mine.signal, credentials: "omit"});
    } catch (error) {
      if (error.name !== "AbortError") tell("No answer: is vqa-ray browse still running?");
      else if (running === mine) tell("Stopped.");
      return null;
    } finally {
      clearTimeout(slow);
      if (running === mine) {
        running = null;
        waiting.hidden = true;
        get("page").removeAttribute("aria-busy");
      }
    }
  };

  const parsed = async response => new DOMParser().parseFromString(await response.text(), "text/html");

  // Takes what is new from the page at `url`; what is being typed stays.
  const show = async (url, {push = true, focus = "", keep = true} = {}) => {
    const response = await ask(url);
    if (!response) return;
    const there = await parsed(response);
    if (!there.getElementById("page")) { location.assign(url); return; }
    const active = document.activeElement;
    const again = active && active.name && active.form === form && active.type === "checkbox" ? [active.name, active.value] : null;
    const open = get("facets") ? get("facets").open : false;
    const scrolled = [...document.querySelectorAll("#facets fieldset")].map(each => each.scrollTop);
    for (const id of ["page", "query-picture"]) get(id).replaceWith(document.adoptNode(there.getElementById(id)));
    for (const name of ["text", "by", "verify", "only"]) {
      const mine = form.elements[name], theirs = there.getElementById("search").elements[name];
      if (!mine || !theirs || (keep && mine === document.activeElement)) continue;
      if (mine.type === "checkbox") mine.checked = theirs.checked; else mine.value = theirs.value;
      if (theirs.placeholder) mine.placeholder = theirs.placeholder;
    }
    document.title = there.title;
    say();
    if (push) history.pushState(null, "", url);
    unfold(open);
    document.querySelectorAll("#facets fieldset").forEach((each, place) => { each.scrollTop = scrolled[place] || 0; });
    if (again) [...form.elements].find(each => each.name === again[0] && each.value === again[1])?.focus();
    if (focus === "first") cards()[0]?.focus();
    if (focus === "last") cards().at(-1)?.focus();
  };

  const unfold = open => { if (get("facets")) get("facets").open = wide.matches || open; };

  const address = () => {
    const given = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (typeof value !== "string" || (!name.startsWith("f.") && (!value.trim() || (name === "by" && value === "similarity")))) continue;
      given.append(name, value);
    }
    const query = given.toString();
    return query ? `/?${query}` : "/";
  };

  form.addEventListener("submit", event => { event.preventDefault(); show(address()); });
  document.addEventListener("change", event => {
    const it = event.target;
    if (it.id === "file") { if (it.files[0]) send(it.files[0]); it.value = ""; return; }
    if (it.form !== form || it.type === "search" || it.type === "text") return;
    if (it.name === "by" && !form.elements.text.value.trim()) return;
    if (it.name === "only" && !form.elements.verify.value.trim()) return;
    show(address());
  });
  addEventListener("popstate", () => { if (dialog.open) dialog.close(); show(location.href, {push: false, keep: false}); });

  const send = async file => {
    const most = Number(get("file").dataset.maxBytes);
    if (file.size > most) {
      tell(`the image is larger than ${+(most / 2 ** 20).toPrecision(3)} MiB, the most that is taken`);
      return;
    }
    const response = await ask("/image", {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}});
    if (!response) return;
    if (!response.ok) {
      tell((await response.text()).trim());
      return;
    }
    const {image} = await response.json();
    for (const each of get("query-picture").querySelectorAll("input")) each.remove();
    const hidden = Object.assign(document.createElement("input"), {type: "hidden", name: "image", value: image});
    get("query-picture").append(hidden);
    if (form.elements.by && !form.elements.text.value.trim()) form.elements.by.value = "similarity";
    show(address());
  };

  if (get("file")) {
    const holds = event => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
    let depth = 0;
    const over = on => { depth = on ? depth : 0; get("dropping").hidden = !on; };
    addEventListener("dragenter", event => { if (holds(event)) { event.preventDefault(); depth += 1; over(true); } });
    addEventListener("dragleave", event => { if (holds(event) && --depth <= 0) over(false); });
    addEventListener("dragover", event => { if (holds(event)) event.preventDefault(); });
    addEventListener("drop", event => {
      if (!holds(event)) return;
      event.preventDefault();
      over(false);
      if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
    });
    addEventListener("paste", event => {
      const file = [...event.clipboardData.files].find(each => each.type.startsWith("image/"));
      if (file) { event.preventDefault(); send(file); }
    });
  }

  let opened = null;
  const openRow = async link => {
    const response = await ask(link.href);
    if (!response) return;
    const content = (await parsed(response)).getElementById("content");
    if (!content) { location.assign(link.href); return; }
    opened = link;
    dialog.querySelector(".content").replaceChildren(document.adoptNode(content));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { opened?.focus(); opened = null; });

  document.addEventListener("click", event => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest("a[href]");
    if (!link || link.matches(".skip, [data-plain]")) return;
    if (link.hasAttribute("data-whole")) { event.preventDefault(); link.classList.toggle("whole"); return; }
    event.preventDefault();
    if (link.hasAttribute("data-open")) { openRow(link); return; }
    if (dialog.open) { opened = null; dialog.close(); }
    const paging = link.rel === "next" || link.rel === "prev";
    show(link.href, {focus: paging ? "first" : ""});
    if (paging || link.matches(".similar, [data-similar], .home")) scrollTo(0, 0);
  });

  // How far an arrow goes: the next card, or the nearest in the next row of them.
  const beside = (list, place, key) => {
    if (key === "ArrowRight") return place + 1;
    if (key === "ArrowLeft") return place - 1;
    if (key === "Home") return 0;
    if (key === "End") return list.length - 1;
    const down = key === "ArrowDown", from = list[place].getBoundingClientRect();
    let best = -1, least = Infinity;
    list.forEach((each, other) => {
      const to = each.getBoundingClientRect(), rows = down ? to.top - from.top : from.top - to.top;
      const away = rows * 1000 + Math.abs(to.left - from.left);
      if (rows > 5 && away < least) { least = away; best = other; }
    });
    return best;
  };

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key, typing = event.target.matches("input:not([type=checkbox]), select, textarea");
    if (key === "Escape" && running) { event.preventDefault(); running.abort(); return; }
    if (dialog.open) {
      if ((key === "ArrowLeft" || key === "ArrowRight") && opened) {
        const list = cards(), next = list[beside(list, list.indexOf(opened), key)];
        if (next) { event.preventDefault(); openRow(next); }
      }
      return;
    }
    if (key === "/" && !typing) { event.preventDefault(); form.elements.text.focus(); form.elements.text.select(); return; }
    if (key === "Escape" && typing) { event.target.blur(); return; }
    const list = cards();
    if (key === "ArrowDown" && event.target === form.elements.text) { event.preventDefault(); list[0]?.focus(); return; }
    if (typing) return;
    if (key === "[" || key === "]") { document.querySelector(`.pages a[rel=${key === "[" ? "prev" : "next"}]`)?.click(); return; }
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key) || !list.length) return;
    const place = list.indexOf(document.activeElement);
    if (place < 0) {
      if (document.activeElement !== document.body || !key.startsWith("Arrow")) return;
      event.preventDefault();
      list[0].focus();
      return;
    }
    event.preventDefault();
    const next = list[beside(list, place, key)];
    if (next) next.focus();
    else if (key === "ArrowUp") form.elements.text.focus();
  });

  wide.addEventListener("change", () => unfold(false));
  unfold(get("facets") ? get("facets").open : false);
})();
