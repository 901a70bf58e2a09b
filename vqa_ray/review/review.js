// The page works without this: it adds the keys.
(() => {
  "use strict";
  const answer = document.querySelector("#other [name=answer]");
  const press = selector => document.querySelector(selector)?.click();
  const keys = {
    "1": "#verdict [value=right]", "2": "#verdict [value=wrong]", "s": "#verdict [value=skip]", "u": "#undo button",
    "ArrowLeft": "a[rel=prev]", "ArrowRight": "a[rel=next]",
  };
  // A second press while the next item is on its way would judge that one unseen.
  let sent = false;
  addEventListener("submit", event => { if (sent) event.preventDefault(); sent = true; });
  addEventListener("pageshow", () => { sent = false; });
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target === answer) {
      if (event.key === "Escape") answer.blur();
      return;
    }
    if (event.key === "3" || event.key === "o") {
      if (answer) { event.preventDefault(); answer.focus(); answer.select(); }
    } else if (keys[event.key]) {
      event.preventDefault();
      press(keys[event.key]);
    }
  });
})();
