// Equations: arithmatex leaves \(...\) and \[...\] in elements of their own; KaTeX sets them, on every page that is shown.
function setEquations(root) {
  root.querySelectorAll(".arithmatex").forEach(function (element) {
    if (element.dataset.done) return;
    const text = element.textContent.trim();
    const display = text.startsWith("\\[");
    element.dataset.done = "1";
    katex.render(text.slice(2, -2), element, { displayMode: display, throwOnError: false });
  });
}

if (typeof document$ !== "undefined") {
  document$.subscribe(function () { setEquations(document); });
} else {
  document.addEventListener("DOMContentLoaded", function () { setEquations(document); });
}
