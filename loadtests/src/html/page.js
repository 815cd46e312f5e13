// A readout under the pointer. The plots are complete without it.
"use strict";
for (const figure of document.querySelectorAll("figure.chart")) {
  const svg = figure.querySelector("svg");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
  cursor.setAttribute("class", "cursor");
  const box = document.createElement("div");
  box.className = "readout";
  box.hidden = true;
  svg.append(cursor);
  figure.append(box);

  const row = (name, kind, value) => {
    const line = document.createElement("div");
    const key = document.createElement("i");
    key.className = kind;
    const shown = document.createElement("b");
    shown.textContent = value;
    line.append(key, name, shown);
    return line;
  };
  const show = (event) => {
    const place = svg.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * svg.viewBox.baseVal.width;
    if (x < data.left - 8 || x > data.right + 8 || data.at.length === 0) return hide();
    let nearest = 0;
    data.at.forEach(([at], index) => {
      if (Math.abs(at - x) < Math.abs(data.at[nearest][0] - x)) nearest = index;
    });
    const [at, words] = data.at[nearest];
    cursor.setAttribute("d", `M${at} ${data.top}V${data.bottom}`);
    const head = document.createElement("strong");
    head.textContent = words;
    box.replaceChildren(head, ...data.series.filter((series) => series[2][nearest]).map((series) => row(series[0], series[1], series[2][nearest])));
    box.hidden = false;
    const frame = figure.getBoundingClientRect();
    const left = place.left - frame.left + (at / svg.viewBox.baseVal.width) * place.width;
    box.style.left = `${left + box.offsetWidth + 16 > frame.width ? left - box.offsetWidth - 12 : left + 12}px`;
    box.style.top = `${place.top - frame.top + 8}px`;
  };
  const hide = () => {
    box.hidden = true;
    cursor.removeAttribute("d");
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerleave", hide);
}
document.documentElement.dataset.ready = "true";
