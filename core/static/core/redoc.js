"use strict";

// The footer wants a logo from its maker's network. Our pages load nothing from elsewhere: such an image fails at once,
// unasked, and the footer does without.
const source = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
const setAttribute = Element.prototype.setAttribute;

function isElsewhere(address) {
  return new URL(address, location.href).protocol === "https:" && new URL(address, location.href).origin !== location.origin;
}

Element.prototype.setAttribute = function (name, value) {
  if (!(this instanceof HTMLImageElement && name === "src" && isElsewhere(value))) setAttribute.call(this, name, value);
};
Object.defineProperty(HTMLImageElement.prototype, "src", {
  ...source,
  set(value) {
    if (isElsewhere(value)) queueMicrotask(() => this.dispatchEvent(new Event("error")));
    else source.set.call(this, value);
  },
});

const page = document.getElementById("redoc");

Redoc.init(page.dataset.schema, { hideDownloadButton: false, nativeScrollbars: true, requiredPropsFirst: true }, page);
