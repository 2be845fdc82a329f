/* Figures and tables of the book. Data lie in the page as JSON; one Plotly and one DataTables serve all pages and are
   loaded, by script tags that also work from file://, only where there is something to draw. */
(function () {
  "use strict";
  const here = document.currentScript.src;
  const pending = {};

  function load(path) {
    if (!pending[path]) {
      pending[path] = new Promise(function (resolve, reject) {
        const amd = window.define; // hidden while loading, so that the libraries set their globals
        window.define = undefined;
        const tag = document.createElement("script");
        tag.src = new URL(path, here).href;
        tag.onload = function () { window.define = amd; resolve(); };
        tag.onerror = function () { window.define = amd; reject(new Error("cannot load " + path)); };
        document.head.appendChild(tag);
      });
    }
    return pending[path];
  }

  function data(element) {
    return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
  }

  function copy(value) { return JSON.parse(JSON.stringify(value)); }

  /* ---- figures ---- */

  const NARROW = 520; // pixels of a figure below which panels are stacked and the legend goes under the plot
  const EDGES = 110; // margins above and below the panels, as the house's template leaves them
  const LINE = 20;

  function template() {
    const style = getComputedStyle(document.documentElement);
    const dark = document.documentElement.dataset.theme === "dark";
    const text = style.getPropertyValue("--pst-color-text-base").trim() || (dark ? "#ddd" : "#222");
    const back = style.getPropertyValue("--pst-color-background").trim() || (dark ? "#14181e" : "#fff");
    const grid = dark ? "rgba(255,255,255,.16)" : "rgba(0,0,0,.12)";
    const t = copy(window.biosaeTemplate || { layout: {} });
    const axis = Object.assign({}, t.layout.xaxis, { gridcolor: grid, zerolinecolor: grid, linecolor: grid });
    Object.assign(t.layout, { xaxis: axis, yaxis: axis });
    t.layout.font = Object.assign({}, t.layout.font, { color: text });
    t.layout.hoverlabel = Object.assign({}, t.layout.hoverlabel, { bgcolor: back, bordercolor: text, font: { color: text } });
    t.layout.legend = Object.assign({}, t.layout.legend, { bgcolor: "rgba(0,0,0,0)" });
    t.layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: style.getPropertyValue("--pst-color-primary").trim() || text };
    return t;
  }

  function axisOf(layout, id) {
    const name = id[0] + "axis" + id.slice(1);
    return layout[name] || (layout[name] = {});
  }

  /* Panels, each as its two axes, row by row. */
  function panels(layout, traces) {
    const found = new Map();
    traces.forEach(function (t) { found.set((t.xaxis || "x") + (t.yaxis || "y"), [t.xaxis || "x", t.yaxis || "y"]); });
    return Array.from(found.values()).map(function (ids) {
      return { x: axisOf(layout, ids[0]), y: axisOf(layout, ids[1]) };
    }).filter(function (p) { return p.x.domain && p.y.domain; }).sort(function (a, b) {
      return b.y.domain[1] - a.y.domain[1] || a.x.domain[0] - b.x.domain[0];
    });
  }

  function stack(layout, traces) {
    const all = panels(layout, traces);
    const beside = all.some(function (p) { return p.x.domain[0] > 0; });
    if (!beside) return;
    const rows = new Set(all.map(function (p) { return p.y.domain[1]; })).size;
    const span = all[0].y.domain[1] - all[0].y.domain[0];
    const tall = Math.max(210, (layout.height - EDGES) * span), gap = rows > 1 ? (layout.height - EDGES) * (1 - rows * span) / (rows - 1) : 70;
    const total = all.length * tall + (all.length - 1) * gap;
    const title = { x: null, y: null };
    all.forEach(function (p) {
      ["x", "y"].forEach(function (k) { if (!title[k] && p[k].title && p[k].title.text) title[k] = p[k].title; });
    });
    all.forEach(function (p, i) {
      const top = 1 - i * (tall + gap) / total;
      p.x.domain = [0, 1];
      p.y.domain = [Math.max(0, top - tall / total), top];
      p.x.showticklabels = p.y.showticklabels = true;
      if (title.y) p.y.title = title.y;
      if (title.x && i === all.length - 1) p.x.title = title.x;
    });
    layout.height = total + EDGES;
  }

  function wrapped(text, width) {
    const lines = [""];
    text.replace(/<br>/g, " ").split(" ").forEach(function (word) {
      const last = lines.length - 1;
      if (lines[last] && (lines[last] + " " + word).length > width) lines.push(word);
      else lines[last] += (lines[last] ? " " : "") + word;
    });
    return lines;
  }

  /* Long names on the vertical axis take the width that the data need: break them into lines. */
  function breakNames(layout, traces) {
    const names = new Set();
    traces.forEach(function (t) { if (Array.isArray(t.y)) t.y.forEach(function (v) { if (typeof v === "string") names.add(v); }); });
    const all = Array.from(names);
    if (!all.some(function (n) { return n.length > 16; })) return;
    const lines = all.map(function (n) { return wrapped(n, 16); });
    Object.keys(layout).filter(function (k) { return k.startsWith("yaxis"); }).forEach(function (k) {
      Object.assign(layout[k], { tickmode: "array", tickvals: all, ticktext: lines.map(function (l) { return l.join("<br>"); }), tickfont: { size: 10 } });
    });
    const need = all.length * (12 * Math.max.apply(null, lines.map(function (l) { return l.length; })) + 8) + EDGES;
    layout.height = Math.max(layout.height, need);
  }

  function legendRows(traces, width) {
    let rows = 0, used = width;
    traces.forEach(function (t) {
      if (t.showlegend === false || t.visible === false) return;
      const needs = 52 + 7 * String(t.name || "").length;
      if (used + needs > width) { rows += 1; used = 0; }
      used += needs;
    });
    return rows;
  }

  /* The layout of a figure for a width: as stored on a desk, rearranged on a phone. Buttons are drawn in HTML. */
  function fitted(content, width) {
    const layout = Object.assign(copy(content.layout), { template: template(), autosize: true });
    layout.height = layout.height || 450;
    delete layout.updatemenus;
    const narrow = width < NARROW;
    if (narrow) {
      stack(layout, content.data);
      breakNames(layout, content.data);
      layout.legend = Object.assign({}, layout.legend, { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left", font: { size: 12 } });
      layout.margin = Object.assign({}, layout.margin, { l: 44, r: 10 });
      layout.font = Object.assign({}, layout.font, { size: 12 });
    }
    if (layout.showlegend !== false) layout.height += LINE * Math.max(0, legendRows(content.data, width - 60) - 1);
    return layout;
  }

  function buttons(figure, plot, menu) {
    const group = document.createElement("div");
    group.className = "biosae-choice";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Show");
    menu.buttons.forEach(function (b, i) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = b.label;
      button.setAttribute("aria-pressed", String(i === (menu.active || 0)));
      button.addEventListener("click", function () {
        group.querySelectorAll("button").forEach(function (other) { other.setAttribute("aria-pressed", String(other === button)); });
        window.Plotly[b.method].apply(null, [plot].concat(copy(b.args)));
      });
      group.appendChild(button);
    });
    figure.insertBefore(group, plot);
  }

  function draw(figure) {
    if (figure.dataset.drawn) return;
    figure.dataset.drawn = "yes";
    const plot = figure.querySelector(".biosae-plotly");
    const content = data(figure);
    const fit = function () {
      const layout = fitted(content, plot.clientWidth);
      plot.style.minHeight = layout.height + "px";
      return layout;
    };
    load(figure.dataset.bundle).then(function () {
      (content.layout.updatemenus || []).forEach(function (menu) { buttons(figure, plot, menu); });
      const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
      return window.Plotly.newPlot(plot, content.data, fit(), config);
    }).then(function () {
      plot.classList.remove("pending");
      plot.querySelectorAll("svg.main-svg").forEach(function (svg) { svg.setAttribute("aria-hidden", "true"); }); // the label says it
      let narrow = plot.clientWidth < NARROW;
      plot.refit = function () { return window.Plotly.react(plot, content.data, fit()); };
      window.addEventListener("resize", function () {
        if (plot.clientWidth && plot.clientWidth < NARROW !== narrow) { narrow = !narrow; plot.refit(); }
      });
      plot.on("plotly_click", function (event) {
        const p = event.points[0];
        document.dispatchEvent(new CustomEvent("biosae:click", {
          detail: { figure: figure.dataset.name, x: p.x, y: p.y, customdata: p.customdata, label: p.hovertext },
        }));
      });
    }).catch(function (error) {
      plot.textContent = "This figure could not be drawn: " + error.message;
      console.error(error);
    });
  }

  function figures() {
    const all = document.querySelectorAll(".biosae-figure");
    if (!all.length) return;
    if ("IntersectionObserver" in window) {
      const seen = new IntersectionObserver(function (entries) {
        entries.forEach(function (e) { if (e.isIntersecting) { seen.unobserve(e.target); draw(e.target); } });
      }, { rootMargin: "600px" });
      all.forEach(function (f) { f.querySelector(".biosae-plotly").classList.add("pending"); seen.observe(f); });
      const idle = window.requestIdleCallback || function (f) { setTimeout(f, 200); };
      window.addEventListener("load", function () { idle(function () { load(all[0].dataset.bundle); }); });
    } else {
      all.forEach(draw);
    }
    new MutationObserver(function () {
      document.querySelectorAll(".biosae-plotly.js-plotly-plot").forEach(function (plot) {
        window.Plotly.relayout(plot, { template: template() });
      });
    }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    window.addEventListener("beforeprint", function () { all.forEach(draw); });
    document.addEventListener("toggle", function () { window.dispatchEvent(new Event("resize")); }, true);
  }

  /* ---- tables ---- */

  function shown(column) {
    return function (value) {
      if (value === null || value === undefined || value === "") return "";
      if (typeof value !== "number" || !column.numeric) return window.DataTable.util.escapeHtml(String(value));
      if (column.significant) return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1).replace("e-", "e\u2212") : String(value);
      const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: column.decimals, maximumFractionDigits: column.decimals, useGrouping: Math.abs(value) >= 10000 });
      return (value < 0 && /[1-9]/.test(text) ? "\u2212" : "") + text;
    };
  }

  function tables() {
    const all = document.querySelectorAll(".biosae-table");
    if (!all.length) return;
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet";
    sheet.href = new URL("vendor/datatables/dataTables.min.css", here).href;
    document.head.insertBefore(sheet, document.head.firstChild);
    load("vendor/datatables/jquery.min.js")
      .then(function () { return load("vendor/datatables/dataTables.min.js"); })
      .then(function () {
        all.forEach(function (element) {
          const content = data(element);
          new window.DataTable(element.querySelector("table"), {
            data: content.data,
            columns: content.columns.map(function (c) {
              return {
                title: window.DataTable.util.escapeHtml(c.title), type: c.numeric ? "num" : "string", defaultContent: "",
                render: { display: shown(c) }, className: c.long ? "long" : "",
              };
            }),
            order: [],
            pageLength: 10,
            deferRender: true,
            autoWidth: false,
            paging: content.data.length > 10,
            searching: content.data.length > 5,
            info: content.data.length > 10,
            language: { search: "Search", lengthMenu: "_MENU_ rows a page", info: "_START_ to _END_ of _TOTAL_" },
          });
          const scroll = element.querySelector(".dt-layout-table > .dt-layout-cell");
          if (scroll) { scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", content.caption); }
          element.dataset.drawn = "yes";
        });
      })
      .catch(function (error) { console.error(error); });
  }

  function start() { figures(); tables(); }
  window.biosae = { load: load, template: template };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
